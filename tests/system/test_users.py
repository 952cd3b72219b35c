"""Wardens of real users, and sessions in scopes of their own, which the systemd of their user made."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.machine import Machine
from helpers.programs import until

USER = "anna"
LONER = "lena"

IN_A_TERMINAL = ("systemd-run", "--user", "--quiet", "--collect", "--property=Type=exec")

# A process below it, and one that has left its tree and its environment: only the scope tells whose that is.
AGENT = """#!/bin/sh
env -i setsid --fork sleep 1000
sleep 1001
"""


@pytest.fixture(scope="module")
def user(installed: Machine) -> str:
    """Of an ordinary user with a systemd and an agent."""
    installed.add_user(USER)
    installed.write("/usr/local/bin/some-agent", AGENT)
    installed.run("chmod", "755", "/usr/local/bin/some-agent")
    installed.run("cp", "/usr/bin/sleep", "/usr/local/bin/codex")  # recognised by its name
    return USER


@pytest.fixture
def session(musterd: Machine, user: str) -> Iterator[dict[str, Any]]:
    """One that `musterctl run` started, as it is on the roll."""
    musterd.run(*IN_A_TERMINAL, "--", "musterctl", "run", "--", "some-agent", user=user)
    yield until(lambda: next(iter(sessions(musterd)), None), "a session on the roll", 60.0)
    musterd.run("systemctl", "--user", "stop", "musterd-*.scope", user=USER)
    until(lambda: not sessions(musterd), "an empty roll", 60.0)


def sessions(machine: Machine) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(ctl(machine, "--json", "list"))
    return rows


def ctl(machine: Machine, *args: str) -> str:
    return machine.run("musterctl", *args, user=USER).stdout


def scopes(machine: Machine) -> list[str]:
    command = ["systemctl", "--user", "list-units", "--plain", "--no-legend", "musterd-*.scope"]
    return [line.split()[0] for line in machine.run(*command, user=USER).stdout.splitlines()]


def sleepers(machine: Machine) -> list[str]:
    """The `sleep`s of the agent that run, by their argument; not those of others."""
    found = machine.shell("ps --no-headers -C sleep -o stat,args || true").splitlines()
    running = [line.split(maxsplit=1)[1] for line in found if not line.startswith("Z")]
    return sorted(args for args in running if args in ("sleep 1000", "sleep 1001"))


def until_it_works(machine: Machine) -> None:
    until(lambda: sleepers(machine) == ["sleep 1000", "sleep 1001"], "all of it")


def test_run_starts_it_in_a_scope_of_its_own_and_an_end_takes_all_in_it(
    musterd: Machine, session: dict[str, Any]
) -> None:
    assert [session["Scope"]] == scopes(musterd)
    until_it_works(musterd)
    ctl(musterd, "terminate", session["Id"])
    assert (sleepers(musterd), sessions(musterd)) == ([], [])
    until(lambda: scopes(musterd) == [], "an end of its scope")


def test_its_warden_is_its_users_and_can_do_less(musterd: Machine, session: dict[str, Any]) -> None:
    until_it_works(musterd)
    unit = f"musterd-warden@{session['UID']}.service"
    pid = musterd.unit(unit, "MainPID")["MainPID"]
    status = musterd.shell(f"cat /proc/{pid}/status")
    assert f"Uid:\t{session['UID']}\t{session['UID']}\t" in status
    assert "CapEff:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status
    # Another one comes in its place, and nothing of what it looked after is ended.
    musterd.run("kill", "-KILL", pid)
    until(lambda: musterd.unit(unit, "MainPID")["MainPID"] not in ("0", pid), "another warden", 60.0)
    explain = ("musterctl", "explain", session["Id"])
    until(lambda: musterd.run(*explain, user=USER, check=False).status == 0, "a look at it", 60.0)
    assert sleepers(musterd) == ["sleep 1000", "sleep 1001"]
    assert [row["Id"] for row in sessions(musterd)] == [session["Id"]]


@pytest.mark.parametrize("unit", ["dbus.service", "musterd-warden@.service", "musterd.service"])
def test_musterd_may_start_wardens_and_nothing_else(musterd: Machine, unit: str) -> None:
    command = ["runuser", "-u", "musterd", "--", "systemctl", "--no-ask-password", "restart", unit]
    assert musterd.run(*command, check=False).status != 0


def test_resume_gives_it_a_scope_again_and_nothing_of_its_warden(musterd: Machine, user: str) -> None:
    musterd.run(*IN_A_TERMINAL, "--", "musterctl", "run", "--", "codex", "1002", user=user)
    session = until(lambda: next(iter(sessions(musterd)), None), "a session on the roll", 60.0)
    known = ["pid", "u", session["Leader"], "resume-command", "as", 2, "codex", "1003"]
    musterd.call("RegisterSession", "a{sv}", 2, *known, user=user)
    ctl(musterd, "terminate", session["Id"])
    until(lambda: scopes(musterd) == [], "an end of its scope")
    ctl(musterd, "resume", session["Id"])
    (resumed,) = sessions(musterd)
    assert (resumed["Id"], resumed["State"]) == (session["Id"], "starting")
    assert [resumed["Scope"]] == scopes(musterd) != [session["Scope"]]
    group = musterd.shell(f"grep ^0:: /proc/{resumed['Leader']}/cgroup")
    assert f"/user@{session['UID']}.service/" in group
    check_free(musterd, resumed["Leader"])
    ctl(musterd, "terminate", session["Id"])


def check_free(machine: Machine, pid: int) -> None:
    """Nothing of the sandbox and the limits of its warden, nor a protection, came down to it."""
    assert "warden" not in machine.shell(f"cat /proc/{pid}/cgroup")
    own, init = (machine.shell(f"cd /proc/{x}/ns && readlink net mnt") for x in (pid, 1))
    assert own == init
    assert "NoNewPrivs:\t0\n" in machine.shell(f"cat /proc/{pid}/status")
    assert int(machine.shell(f"cat /proc/{pid}/oom_score_adj")) >= 0
    assert "Max open files            65536" not in machine.shell(f"cat /proc/{pid}/limits")


@pytest.fixture
def loner(musterd: Machine) -> Iterator[str]:
    """A user with neither a systemd nor a tmux server."""
    musterd.run("useradd", "--create-home", LONER)
    yield LONER
    musterd.run("systemctl", "stop", f"musterd-warden@{musterd.uid(LONER)}.service")
    musterd.run("runuser", "-u", LONER, "--", "tmux", "kill-server", check=False)


def test_resume_starts_nothing_within_the_sandbox_of_a_warden(
    musterd: Machine, user: str, loner: str
) -> None:
    pid = musterd.shell("/usr/local/bin/codex 1004 </dev/null >/dev/null 2>&1 & echo $!", user=loner).strip()
    until(lambda: musterd.shell(f"cat /proc/{pid}/comm") == "codex\n", "it runs")
    known = ["pid", "u", pid, "resume-command", "as", 2, "/usr/local/bin/codex", "1005"]
    session_id, path = musterd.call("RegisterSession", "a{sv}", 2, *known, user=loner)
    musterd.run("musterctl", "terminate", session_id, user=loner)
    refused = musterd.run("musterctl", "resume", session_id, user=loner, check=False)
    assert (refused.status, musterd.shell(f"pgrep -u {loner} 'tmux|codex' || true")) == (1, "")
    assert "loginctl enable-linger" in refused.stderr
    musterd.run("tmux", "new-session", "-d", user=loner)
    musterd.run("musterctl", "resume", session_id, user=loner)
    check_free(musterd, musterd.get("Session.Leader", user=loner, path=path))
