"""The Debian package: what lintian thinks of it, and its life on a machine."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.machine import Machine
from helpers.programs import until

LIBRARY = "usr/lib/musterd/musterd"
USER = "cleo"
PATIENCE = 60.0  # seconds, on a busy machine


@pytest.fixture
def newer(package: Path, tmp_path: Path) -> Path:
    """The same package, and what is in it, of a later version."""
    tree, result = tmp_path / "tree", tmp_path / "musterd_99_all.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    (tree / LIBRARY / "__init__.py").write_text('__version__ = "99"\n')
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text("\n".join("Version: 99" if x.startswith("Version:") else x for x in lines) + "\n")
    subprocess.run(["dpkg-deb", "--build", tree, result], check=True, stdout=subprocess.DEVNULL)
    return result


@pytest.fixture(scope="module")
def user(installed: Machine) -> str:
    installed.add_user(USER)
    return USER


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


def test_the_bus_knows_its_user_before_its_policy(installed: Machine) -> None:
    said = installed.journal("dbus.service").splitlines()
    assert [line for line in said if "Unknown" in line and "musterd" in line] == []
    assert any("Reloaded configuration" in line for line in said)


def test_upgrade_restarts_it_and_keeps_its_state(lively: Machine, newer: Path) -> None:
    before = lively.unit("musterd.service", "MainPID")
    unpack(lively, newer)
    assert version(lively) == "99"
    assert lively.unit("musterd.service", "MainPID") != before
    assert lively.get("Reaper.Mode") == "off"


@pytest.fixture
def session(lively: Machine, user: str) -> Iterator[str]:
    """Of a user, looked after by a warden of the version that is installed first."""
    pid = int(lively.shell("sleep 4713 </dev/null >/dev/null 2>&1 & echo $!", user=user))
    session_id, _ = lively.call("RegisterSession", "a{sv}", 1, "pid", "u", pid, user=user)
    assert is_looked_after(lively, session_id)
    yield session_id
    lively.run("kill", str(pid))


def is_looked_after(machine: Machine, session_id: str) -> bool:
    return machine.run("musterctl", "explain", session_id, user=USER, check=False).status == 0


def warden(machine: Machine) -> str:
    return machine.unit(f"musterd-warden@{machine.uid(USER)}.service", "MainPID")["MainPID"]


def test_upgrade_has_wardens_of_the_new_version_look_after_sessions(
    lively: Machine, newer: Path, session: str
) -> None:
    before = warden(lively)
    unpack(lively, newer)
    until(lambda: is_looked_after(lively, session), "a look at it", PATIENCE)
    assert warden(lively) != before
    assert lively.call("ListSessions", user=USER)[0][0][0] == session


def test_a_warden_of_another_version_than_its_daemon_is_started_anew(lively: Machine, session: str) -> None:
    before = warden(lively)
    lively.write(f"{LIBRARY}/__init__.py", '__version__ = "98"\n')
    lively.run("systemctl", "restart", "musterd.service")
    until(lambda: is_looked_after(lively, session), "a look at it", PATIENCE)
    assert warden(lively) != before
    unit = lively.unit(f"musterd-warden@{lively.uid(USER)}.service", "Result", "ActiveState")
    assert unit == {"Result": "success", "ActiveState": "active"}


def test_its_state_is_kept_when_it_is_removed_and_goes_when_it_is_purged(
    lively: Machine, package: Path
) -> None:
    lively.run("dpkg", "--remove", "musterd")
    assert lively.unit("musterd.service", "ActiveState")["ActiveState"] == "inactive"
    assert lively.shell("find /usr -name '*musterd*' -not -path '/usr/share/doc/*'") == ""
    unpack(lively, package)
    assert lively.get("Reaper.Mode") == "off"
    lively.run("dpkg", "--purge", "musterd")
    # systemd forgets the units that have gone, but not at once.
    look = "find /etc /usr /run /var/lib -xdev -ignore_readdir_race -name '*musterd*' -not -path '*/dpkg/*'"
    until(lambda: lively.shell(look, check=False) == "", "all of it is gone", PATIENCE)
