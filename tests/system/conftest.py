"""One machine for all tests of this directory: booted once, with musterd installed once."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers.machine import Machine, why_not

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with systemd that forgets all when the tests are done. It must be had in CI."""
    if reason := why_not():
        assert not os.environ.get("CI"), reason
        pytest.skip(f"No throw-away machine: {reason}")
    with Machine(tmp_path_factory.mktemp("machine")) as booted:
        yield booted


@pytest.fixture(scope="package")
def installed(machine: Machine) -> Machine:
    """With musterd on it, not started."""
    subprocess.run(["make", "--silent", "install", f"DESTDIR={machine.root}"], cwd=ROOT, check=True)
    machine.run("systemd-sysusers")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reload", "dbus")
    return machine


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """What comes and goes in the machine is its own business; it goes with the machine."""
    children = psutil.Process().children()
    yield
    assert [child for child in psutil.Process().children() if child not in children] == []
