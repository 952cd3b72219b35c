"""One machine for all tests of this directory: booted once, with the package built and installed once."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers.machine import Machine, why_not

ROOT = Path(__file__).parents[2]
DROP_INS = "/run/systemd/system/musterd.service.d"


@pytest.fixture(scope="package")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with systemd that forgets all when the tests are done. It must be had in CI."""
    if reason := why_not():
        assert not os.environ.get("CI"), reason
        pytest.skip(f"No throw-away machine: {reason}")
    with Machine(tmp_path_factory.mktemp("machine")) as booted:
        (booted.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)  # of a container: start nothing
        (booted.root / "var/lib/man-db/auto-update").unlink(missing_ok=True)  # of all manual pages there are
        yield booted


@pytest.fixture(scope="package")
def package() -> Path:
    done = subprocess.run(["make", "--silent", "deb"], cwd=ROOT, check=True, capture_output=True, text=True)
    return ROOT / done.stdout.strip()


@pytest.fixture(scope="package")
def installed(machine: Machine, package: Path) -> Machine:
    """With the package installed as an administrator does it."""
    shutil.copy(package, machine.root / "var/cache" / package.name)
    machine.run("apt-get", "install", "--yes", "--quiet", f"/var/cache/{package.name}")
    return machine


@pytest.fixture
def musterd(installed: Machine) -> Iterator[Machine]:
    """With musterd running as shipped, from an empty state."""
    start_anew(installed)
    yield installed
    installed.run("rm", "-rf", DROP_INS)


def start_anew(machine: Machine) -> None:
    machine.run("systemctl", "stop", "musterd.service")
    machine.shell(f"rm -rf /var/lib/musterd/* {DROP_INS}")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "start", "musterd.service")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """What comes and goes in the machine is its own business; it goes with the machine."""
    children = psutil.Process().children()
    yield
    assert [child for child in psutil.Process().children() if child not in children] == []
