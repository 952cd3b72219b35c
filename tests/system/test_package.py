"""The Debian package: what lintian thinks of it, and its life on a machine."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.machine import Machine


@pytest.fixture
def newer(package: Path, tmp_path: Path) -> Path:
    """The same package under a later version."""
    tree, result = tmp_path / "tree", tmp_path / "musterd_99_all.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text("\n".join("Version: 99" if x.startswith("Version:") else x for x in lines) + "\n")
    subprocess.run(["dpkg-deb", "--build", tree, result], check=True, stdout=subprocess.DEVNULL)
    return result


@pytest.fixture
def lively(musterd: Machine, package: Path) -> Iterator[Machine]:
    """musterd with a state of its own; back again for others whatever a test does to the package."""
    musterd.run("musterctl", "reaper", "mode", "off")
    yield musterd
    unpack(musterd, package)


def unpack(machine: Machine, package: Path) -> None:
    shutil.copy(package, machine.root / "var/cache" / package.name)
    machine.run("dpkg", "--install", f"/var/cache/{package.name}")


def version(machine: Machine) -> str:
    return machine.run("dpkg-query", "--show", "--showformat=${Version}", "musterd").stdout


def test_lintian_finds_no_error(package: Path) -> None:
    command = ["lintian", "--allow-root", "--fail-on=error", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_runs_once_it_is_installed(installed: Machine) -> None:
    assert installed.run("systemctl", "is-enabled", "musterd.service").stdout == "enabled\n"
    unit = installed.unit("musterd.service", "NRestarts", "ActiveState")
    assert unit == {"NRestarts": "0", "ActiveState": "active"}


def test_upgrade_restarts_it_and_keeps_its_state(lively: Machine, newer: Path) -> None:
    before = lively.unit("musterd.service", "MainPID")
    unpack(lively, newer)
    assert version(lively) == "99"
    assert lively.unit("musterd.service", "MainPID") != before
    assert lively.get("Reaper.Mode") == "off"


def test_its_state_is_kept_when_it_is_removed_and_goes_when_it_is_purged(
    lively: Machine, package: Path
) -> None:
    lively.run("dpkg", "--remove", "musterd")
    assert lively.unit("musterd.service", "ActiveState")["ActiveState"] == "inactive"
    assert lively.shell("find /usr -name '*musterd*' -not -path '/usr/share/doc/*'") == ""
    unpack(lively, package)
    assert lively.get("Reaper.Mode") == "off"
    lively.run("dpkg", "--purge", "musterd")
    assert lively.shell("find /etc /usr /run /var/lib -xdev -name '*musterd*' -not -path '*/dpkg/*'") == ""
