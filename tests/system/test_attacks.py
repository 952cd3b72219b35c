"""What may be tried against the daemon as such, and as whom it has things done."""

from collections.abc import Iterator

import pytest

from helpers.machine import Machine
from system.test_hostile import HELPERS, MEMORY, PROGRAMS, Mallory
from system.test_service import UNIT

MALLORY = "malvolio"


@pytest.fixture(scope="module")
def equipped(installed: Machine) -> Machine:
    installed.run("mkdir", "--parents", PROGRAMS)
    installed.write(f"{PROGRAMS}/hostile.py", (HELPERS / "hostile.py").read_text())
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
