"""What goes wrong around the daemon: it is started anew, or says that it is degraded; no promise is lost."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from helpers.machine import UNIT, Machine
from helpers.programs import until
from system.conftest import DROP_INS
from system.test_service import register_remote, state

PATIENCE = 120.0  # seconds, on a busy machine

# A round of the daemon through all its parts takes place twice in this time; who is only slow is in time.
WATCHFUL = "[Service]\nWatchdogSec=30s\nTimeoutAbortSec=1s\nRestartSec=100ms\n"

STATE = "/var/lib/musterd"

USER = "dora"

# Freezes threads of the daemon: the first runs the event loop, the others do what may block, as the store.
FREEZE = """
cd /sys/fs/cgroup/unified 2>/dev/null || cd /sys/fs/cgroup
cd system.slice/musterd.service
mkdir wedge
echo threaded >wedge/cgroup.type
for thread in $(ls /proc/{pid}/task); do
    case $thread in {threads}) echo $thread >wedge/cgroup.threads ;; esac
done
echo 1 >wedge/cgroup.freeze
"""


@dataclass(frozen=True)
class Promised:
    """A session of another host, and one of a user here with a real process."""

    machine: Machine
    far: str
    near: str
    pid: int

    def check(self) -> None:
        """Both are on the roll, the process lives, and its warden looks after it."""
        assert sorted(roll(self.machine)) == sorted([self.far, self.near])
        self.machine.run("kill", "-0", str(self.pid))
        explain = ("musterctl", "explain", self.near)
        until(
            lambda: self.machine.run(*explain, user=USER, check=False).status == 0, "a look at it", PATIENCE
        )


@pytest.fixture(scope="module")
def user(installed: Machine) -> str:
    installed.add_user(USER)
    return USER


@pytest.fixture
def process(musterd: Machine, user: str) -> Iterator[int]:
    """Of the user; no session yet."""
    pid = int(musterd.shell("sleep 4712 </dev/null >/dev/null 2>&1 & echo $!", user=user))
    yield pid
    musterd.run("kill", str(pid))


def promise(machine: Machine, pid: int) -> Promised:
    near, _ = machine.call("RegisterSession", "a{sv}", 1, "pid", "u", pid, user=USER)
    return Promised(machine, register_remote(machine), near, pid)


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


def test_one_that_is_stopped_is_started_anew_by_the_watchdog(watched: Machine, process: int) -> None:
    promised, before = promise(watched, process), main_pid(watched)
    watched.run("kill", "-STOP", before)
    await_restart(watched, before)
    promised.check()
    assert "Watchdog timeout" in watched.journal(UNIT)


@pytest.mark.parametrize("part", ["event loop", "store"])
def test_one_with_a_wedged_part_is_started_anew_by_the_watchdog(
    watched: Machine, process: int, part: str
) -> None:
    promised, before = promise(watched, process), main_pid(watched)
    threads = before if part == "event loop" else f"{before}) ;; *"
    watched.shell(FREEZE.format(pid=before, threads=threads))
    await_restart(watched, before)
    promised.check()
    assert "Watchdog timeout" in watched.journal(UNIT)


def test_one_that_is_killed_is_started_anew(watched: Machine, process: int) -> None:
    promised, before = promise(watched, process), main_pid(watched)
    watched.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    await_restart(watched, before)
    promised.check()


def test_a_restart_of_the_bus_is_lived_through(musterd: Machine, process: int) -> None:
    promised, before = promise(musterd, process), main_pid(musterd)
    musterd.run("systemctl", "restart", "dbus.service")
    until(lambda: musterd.busctl("status", "org.musterd.Muster1").status == 0, "its name", PATIENCE)
    promised.check()
    assert main_pid(musterd) == before


def refusal(machine: Machine) -> str:
    """What is said to who wants something promised; empty if it is."""
    words = ["RegisterSession", "a{sv}", "2", "agent", "s", "other", "host", "s", "farther"]
    root, interface = "/org/musterd/Muster1", "org.musterd.Muster1.Manager"
    return machine.busctl("call", "org.musterd.Muster1", root, interface, *words).stderr


def test_a_full_disk_is_told_of_and_lived_through(small_disk: Machine, process: int) -> None:
    promised = promise(small_disk, process)
    small_disk.run("dd", "if=/dev/zero", f"of={STATE}/ballast", "bs=4k", check=False)
    assert "No space left" in refusal(small_disk)
    until(lambda: small_disk.get("Health") == "degraded", "degraded health", PATIENCE)
    promised.check()
    assert state(small_disk) == "active"
    until(lambda: "degraded" in small_disk.unit(UNIT, "StatusText")["StatusText"], "its status", PATIENCE)
    small_disk.run("rm", f"{STATE}/ballast")
    until(lambda: small_disk.get("Health") == "ok", "good health", PATIENCE)
    assert refusal(small_disk) == ""


def test_a_state_directory_that_cannot_be_written_is_told_of(watched: Machine, process: int) -> None:
    promised = promise(watched, process)
    watched.run("chmod", "--recursive", "a-w", STATE)
    try:
        assert "Permission denied" in refusal(watched)
        until(lambda: watched.get("Health") == "degraded", "degraded health", PATIENCE)
        promised.check()
        assert state(watched) == "active"
    finally:
        watched.run("chmod", "--recursive", "u+w", STATE)
    until(lambda: watched.get("Health") == "ok", "good health", PATIENCE)


def test_files_that_are_corrupt_are_put_aside_and_told_of(musterd: Machine, process: int) -> None:
    promised = promise(musterd, process)
    musterd.run("systemctl", "stop", UNIT)
    musterd.shell(
        f"cd {STATE} && cp sessions/{promised.far}.toml sessions/aaaaaa.toml &&"
        " head -c 4096 /dev/urandom >sessions/aaaaaa.toml && echo nonsense >mode.toml &&"
        " head -c 65536 /dev/urandom >events.db"
    )
    musterd.run("systemctl", "start", UNIT)
    promised.check()
    until(lambda: musterd.get("Health") == "degraded", "degraded health", PATIENCE)
    quarantine = musterd.root / STATE[1:] / "quarantine"

    def are_aside() -> bool:
        names = " ".join(path.name for path in quarantine.iterdir())
        return all(name in names for name in ("aaaaaa", "mode", "events"))

    until(are_aside, "all of them", PATIENCE)
