"""What may be tried against the daemon as such, and as whom it has things done."""

from collections.abc import Iterator

import pytest

from helpers.attacker import MEMORY, Mallory, equip
from helpers.machine import UNIT, Machine
from helpers.programs import until
from system.test_service import state

MALLORY = "malvolio"


@pytest.fixture(scope="module")
def equipped(installed: Machine) -> Machine:
    equip(installed)
    installed.run("useradd", "--create-home", "--shell", "/bin/bash", MALLORY)
    return installed


@pytest.fixture
def mallory(equipped: Machine, musterd: Machine) -> Iterator[Mallory]:
    attacker = Mallory(musterd, MALLORY, equipped.uid(MALLORY))
    try:
        yield attacker
    finally:
        attacker.leaves()


def daemon_of(machine: Machine) -> tuple[int, int]:
    """Its pid, and the most memory that it had, in KiB."""
    pid = int(machine.unit(UNIT, "MainPID")["MainPID"])
    status = (machine.root / f"proc/{pid}/status").read_text()
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return pid, peak


def test_calls_that_wait_for_a_warden_which_its_user_has_stopped_take_no_more_memory_than_they_may(
    mallory: Mallory,
) -> None:
    pid, _ = daemon_of(mallory.machine)
    mallory.registers(mallory.starts("sleep", "4724"))
    mallory.machine.run("kill", "-STOP", str(mallory.warden_pid()), user=mallory.name)
    said = mallory.does("piles", 4)
    assert said["org.musterd.Muster1.Error.LimitReached"] > 200
    now, peak = daemon_of(mallory.machine)
    assert (now, peak < MEMORY // 2) == (pid, True)
    mallory.machine.run("systemctl", "stop", mallory.warden)


def test_name_of_the_daemon_is_nobodys_while_it_is_down(mallory: Mallory) -> None:
    mallory.machine.run("systemctl", "stop", UNIT)
    said = mallory.does("names")
    assert [name for name, answer in said.items() if "AccessDenied" not in answer] == []
    assert mallory.machine.call("ListSessions", user=mallory.name) == [[]]  # the real one, by activation
    until(lambda: state(mallory.machine) == "active", "it has told systemd")


CHECK = "/usr/local/bin/check"

# Says as whom it runs, and what it may.
WHOM = """#!/bin/sh
exec >"$HOME/whom"
id -un; id -Gn; pwd; umask; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; cat /proc/self/oom_score_adj
touch /usr/local/by-check /etc/by-check /var/lib/musterd/by-check
sudo -n true && touch "$HOME/root"
exit 1
"""

# An agent with a task that is not done, whose turn ends.
AGENT = """
set -e
cd "$HOME"
id=$(musterctl register --agent codex --pid $$ --agent-session-id one)
musterctl claim start --session "$id" --task 'tidy up' >claimed
echo '{"session_id": "one"}' | MUSTERD_HOOK_TIMEOUT=60 musterd-hook codex Stop
"""

PATIENT = """
[stop-gate]
hook-timeout = "60s"
check-timeout = "50s"
check-command = ["/usr/local/bin/check"]
"""


def test_check_runs_as_the_user_in_the_session_s_directory_and_may_do_less(mallory: Mallory) -> None:
    machine, drop_in = mallory.machine, "/etc/musterd/musterd.toml.d/check.toml"
    machine.write(drop_in, PATIENT)
    machine.write(CHECK, WHOM)
    machine.run("chmod", "755", CHECK)
    try:
        machine.run("systemctl", "reload", UNIT)
        machine.call("StopGate.SetMode", "ss", "enforce", "a test")
        machine.run("git", "init", "--quiet", mallory.home, user=mallory.name)
        said = machine.run("sh", "-c", AGENT, user=mallory.name).stdout
    finally:
        machine.run("rm", drop_in, CHECK)
    assert "the operator's check holds it" in said
    whom = (machine.root / mallory.home[1:] / "whom").read_text().splitlines()
    name, groups, directory, umask, *can, score = whom
    assert (name, groups, directory, umask, score) == (mallory.name, mallory.name, mallory.home, "0077", "0")
    assert {line.split()[1].strip("0") for line in can} == {"", "1"}  # no capability, no new privileges
    made = [f"{mallory.home}/root", "/usr/local/by-check", "/etc/by-check", "/var/lib/musterd/by-check"]
    assert [path for path in made if (machine.root / path[1:]).exists()] == []
