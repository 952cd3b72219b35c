"""One machine for all tests of this directory: booted once, with the package built and installed once."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers.machine import Machine, why_not

ROOT = Path(__file__).parents[2]
DROP_INS = "/run/systemd/system/musterd.service.d"


# How long parts of what is installed wait for each other, in seconds: longer than as shipped, since machines
# are busy. Not those whose end a test here waits for.
PATIENCE = {
    "bus/polkit.py": {"RULES_TIMEOUT": 15.0},
    "bus/systemd1.py": {"TIMEOUT": 60.0},
    "ctl/agent.py": {"START_TIMEOUT": 60.0},
    "ctl/client.py": {"CONNECT_TIMEOUT": 60.0, "CALL_TIMEOUT": 60.0},
    "ctl/doctor.py": {"CHECK_TIMEOUT": 60.0},
    "host/panes.py": {"START_TIMEOUT": 60.0},
    "warden/ending.py": {"TERM_PATIENCE": 30.0, "KILL_PATIENCE": 30.0, "LOOK_PATIENCE": 20.0},
    "warden/line.py": {"    within": 20.0},
    "warden/remotes.py": {"HELLO_TIMEOUT": 60.0, "ARRIVAL_TIMEOUT": 60.0},
    "warden/revive.py": {"TMUX_PATIENCE": 20.0},
    "warden/service.py": {"ATTACH_TIMEOUT": 60.0, "WELCOME_TIMEOUT": 60.0},
}
STOPPING = "[Service]\nTimeoutStopSec=90s\n"


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
    machine.write("/etc/systemd/system/service.d/patient.conf", STOPPING)
    return machine


def be_patient(machine: Machine) -> None:
    for name, limits in PATIENCE.items():
        file = machine.root / "usr/lib/musterd/musterd" / name
        text = shipped = file.read_text()
        for limit, seconds in limits.items():
            pattern = rf"^({limit}(?:: float)? = )[\d.]+"
            text, count = re.subn(pattern, rf"\g<1>{seconds}", text, flags=re.MULTILINE)
            assert count == 1, f"'{name}' has no limit '{limit.strip()}' any more"
        if text != shipped:
            file.write_text(text)


@pytest.fixture
def musterd(installed: Machine) -> Iterator[Machine]:
    """With musterd running as shipped, from an empty state."""
    start_anew(installed)
    yield installed
    installed.run("rm", "-rf", DROP_INS)


def start_anew(machine: Machine) -> None:
    machine.run("systemctl", "stop", "musterd.service")
    machine.shell(f"rm -rf /var/lib/musterd/* {DROP_INS}")
    be_patient(machine)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "start", "musterd.service")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """What comes and goes in the machine is its own business; it goes with the machine."""
    children = psutil.Process().children()
    yield
    assert [child for child in psutil.Process().children() if child not in children] == []
