"""What a user who means ill may try on a machine that others share, and what comes of it: nothing.

One daemon and one session of Alice's live through all of it. Whoever attacks is another user each time.
"""

from collections.abc import Iterator
from itertools import count

import pytest

from helpers.attacker import AGENT, ALICE, PATIENCE, THREAD, Daemon, Mallory, Victim, equip
from helpers.machine import Machine
from helpers.programs import until
from system.conftest import start_anew

# Agents are looked for at once, not twice a minute.
EAGER = '[discovery]\nenabled = true\ninterval = "1s"\n'
CONFIG = "/etc/musterd/musterd.toml.d/eager.toml"


@pytest.fixture(scope="package")
def stage(installed: Machine) -> Iterator[Machine]:
    """The daemon as shipped, with programs that anybody may run."""
    equip(installed)
    installed.run("cp", "/usr/bin/sleep", AGENT)
    installed.write(CONFIG, EAGER)
    start_anew(installed)
    yield installed
    installed.run("rm", CONFIG)
    start_anew(installed)


@pytest.fixture(scope="package")
def alice(stage: Machine) -> Iterator[Victim]:
    """With an agent in a scope of its own, and a conversation that others might like to have."""
    stage.add_user(ALICE)
    run = ("systemd-run", "--user", "--quiet", "--collect", "--property=Type=exec")
    stage.run(*run, "--", "musterctl", "run", "--", AGENT, "4711", user=ALICE)
    (row,) = until(lambda: stage.call("ListSessions", user=ALICE)[0], "Alice's session", PATIENCE)
    pid = stage.get("Session.Leader", path=row[-1])
    spec = ("pid", "u", pid, "agent-session-id", "s", THREAD, "title", "s", "Alice's own")
    stage.call("RegisterSession", "a{sv}", 3, *spec, user=ALICE)
    stage.call("SetProtected", "sb", row[0], "true", user=ALICE)
    stage.call("StopGate.Claim", "a{sv}", 2, "session", "s", row[0], "task", "s", "hers", user=ALICE)
    yield Victim(stage, row[0], pid)
    stage.run("systemctl", "--user", "stop", "musterd-*.scope", user=ALICE)


@pytest.fixture(scope="package")
def daemon(stage: Machine, alice: Victim) -> Daemon:
    return Daemon.of(stage)


@pytest.fixture(scope="package")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def mallory(stage: Machine, alice: Victim, daemon: Daemon, numbers: Iterator[int]) -> Iterator[Mallory]:
    """Whatever they do: nothing of Alice's changes, and the daemon is the same, and well."""
    name = f"mallory{next(numbers)}"
    stage.run("useradd", "--create-home", "--shell", "/bin/bash", name)
    before = alice.seen()
    attacker = Mallory(stage, name, stage.uid(name))
    try:
        yield attacker
        alice.goes_on()
    finally:
        attacker.leaves()
    assert alice.seen() == before
    daemon.is_well()
