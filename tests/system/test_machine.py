"""The throw-away machine itself: alone however many there are, and gone when it is done with."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from helpers.machine import BOOT_TIMEOUT, Machine, hierarchies
from helpers.programs import until

TESTS = Path(__file__).parents[1]

BOOTED = """
import sys
from pathlib import Path
from helpers.machine import Machine
machine = Machine(Path(sys.argv[1]))
machine.start()
print(machine.leader, machine.group, flush=True)
sys.stdin.read()
"""


def test_another_one_beside_it_is_none_of_its_business(machine: Machine, tmp_path: Path) -> None:
    machine.run("systemctl", "reset-failed")  # of what other tests have done to it
    with Machine(tmp_path) as other:
        other.add_user("other")
        assert machine.run("systemctl", "is-system-running").stdout == "running\n"
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"
    assert [group for at in hierarchies() if (group := at / other.group).exists()] == []


def test_it_does_not_stand_still_however_often_it_is_reloaded(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        for _ in range(30):  # three times what the kernel keeps for who does not read
            machine.run("systemctl", "daemon-reload")
        machine.reboot()
        assert machine.run("systemctl", "is-system-running").stdout == "running\n"


def test_it_ends_with_who_started_it(machine: Machine, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BOOTED, str(tmp_path)]
    pipe, environ = subprocess.PIPE, {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ) as starter:
        assert starter.stdout
        leader, group = starter.stdout.readline().split()
        pidfd = os.pidfd_open(int(leader))
        starter.send_signal(signal.SIGKILL)
    ended, _, _ = select.select([pidfd], [], [], BOOT_TIMEOUT)
    os.close(pidfd)
    for at in hierarchies():
        until(partial(_is_removed, at / group), "an end of who ran it")
    assert ended


def _is_removed(group: Path) -> bool:
    """The leader is not the last of its processes to go."""
    with suppress(OSError):
        for below, _, _ in os.walk(group, topdown=False):
            os.rmdir(below)
    return not group.exists()
