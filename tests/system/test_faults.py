"""What goes wrong around the daemon: it is started anew, or says that it is degraded; no promise is lost."""

from collections.abc import Iterator

import pytest

from helpers.machine import Machine
from helpers.programs import until
from system.conftest import DROP_INS
from system.test_service import UNIT, register_remote, state

PATIENCE = 60.0  # seconds, on a busy machine

# A round of the daemon through all its parts takes place twice in this time.
WATCHFUL = "[Service]\nWatchdogSec=4s\nRestartSec=100ms\n"

STATE = "/var/lib/musterd"


@pytest.fixture
def watched(musterd: Machine) -> Machine:
    """musterd under a watchdog that bites soon."""
    musterd.write(f"{DROP_INS}/watchful.conf", WATCHFUL)
    musterd.run("systemctl", "daemon-reload")
    musterd.run("systemctl", "restart", UNIT)
    return musterd


@pytest.fixture
def small_disk(watched: Machine) -> Iterator[Machine]:
    """With its state on a file system of 512 KiB."""
    watched.run("systemctl", "stop", UNIT)
    watched.run("mount", "-t", "tmpfs", "-o", "size=512k,uid=musterd,mode=700", "tmpfs", STATE)
    watched.run("systemctl", "start", UNIT)
    yield watched
    watched.run("systemctl", "stop", UNIT)
    watched.run("umount", STATE)


def main_pid(machine: Machine) -> str:
    return machine.unit(UNIT, "MainPID")["MainPID"]


def roll(machine: Machine) -> list[str]:
    return [row[0] for row in machine.call("ListSessions")[0]]


def await_restart(machine: Machine, before: str) -> None:
    def is_new() -> bool:
        unit = machine.unit(UNIT, "MainPID", "ActiveState")
        return unit["ActiveState"] == "active" and unit["MainPID"] not in ("0", before)

    until(is_new, "another daemon", PATIENCE)


def test_one_that_is_stopped_is_started_anew_by_the_watchdog(watched: Machine) -> None:
    session_id, before = register_remote(watched), main_pid(watched)
    watched.run("kill", "-STOP", before)
    await_restart(watched, before)
    assert roll(watched) == [session_id]
    assert "Watchdog timeout" in watched.journal(UNIT)


def test_one_that_is_killed_is_started_anew(watched: Machine) -> None:
    session_id, before = register_remote(watched), main_pid(watched)
    watched.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    await_restart(watched, before)
    assert roll(watched) == [session_id]


def test_a_restart_of_the_bus_is_lived_through(musterd: Machine) -> None:
    session_id, before = register_remote(musterd), main_pid(musterd)
    musterd.run("systemctl", "restart", "dbus.service")
    until(lambda: musterd.busctl("status", "org.musterd.Muster1").status == 0, "its name", PATIENCE)
    assert roll(musterd) == [session_id]
    assert main_pid(musterd) == before


def refusal(machine: Machine) -> str:
    """What is said to who wants something promised; empty if it is."""
    words = ["RegisterSession", "a{sv}", "2", "agent", "s", "other", "host", "s", "farther"]
    root, interface = "/org/musterd/Muster1", "org.musterd.Muster1.Manager"
    return machine.busctl("call", "org.musterd.Muster1", root, interface, *words).stderr


def test_a_full_disk_is_told_of_and_lived_through(small_disk: Machine) -> None:
    session_id = register_remote(small_disk)
    small_disk.run("dd", "if=/dev/zero", f"of={STATE}/ballast", "bs=4k", check=False)
    assert "No space left" in refusal(small_disk)
    until(lambda: small_disk.get("Health") == "degraded", "degraded health", PATIENCE)
    assert (state(small_disk), roll(small_disk)) == ("active", [session_id])
    assert "degraded" in small_disk.unit(UNIT, "StatusText")["StatusText"]
    small_disk.run("rm", f"{STATE}/ballast")
    until(lambda: small_disk.get("Health") == "ok", "good health", PATIENCE)
    assert refusal(small_disk) == ""


def test_a_state_directory_that_cannot_be_written_is_told_of(watched: Machine) -> None:
    session_id = register_remote(watched)
    watched.run("chmod", "--recursive", "a-w", STATE)
    try:
        assert "Permission denied" in refusal(watched)
        until(lambda: watched.get("Health") == "degraded", "degraded health", PATIENCE)
        assert (state(watched), roll(watched)) == ("active", [session_id])
    finally:
        watched.run("chmod", "--recursive", "u+w", STATE)
    until(lambda: watched.get("Health") == "ok", "good health", PATIENCE)


def test_files_that_are_corrupt_are_put_aside_and_told_of(musterd: Machine) -> None:
    session_id = register_remote(musterd)
    musterd.run("systemctl", "stop", UNIT)
    musterd.shell(
        f"cd {STATE} && cp sessions/{session_id}.toml sessions/aaaaaa.toml &&"
        " head -c 4096 /dev/urandom >sessions/aaaaaa.toml && echo nonsense >mode.toml &&"
        " head -c 65536 /dev/urandom >events.db"
    )
    musterd.run("systemctl", "start", UNIT)
    assert roll(musterd) == [session_id]
    assert musterd.get("Health") == "degraded"
    aside = " ".join(p.name for p in (musterd.root / STATE[1:] / "quarantine").iterdir())
    assert all(name in aside for name in ("aaaaaa", "mode", "events"))
