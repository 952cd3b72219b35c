"""Units as they are installed: systemd understands them, and finds them closed."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# In tenths: what `systemd-analyze security` may find at most.
EXPOSURE = {"musterd.service": 13, "musterd-warden@.service": 25}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where musterd is installed, so that the programs of its units are there."""
    directory = tmp_path_factory.mktemp("installed")
    command = ["make", "--silent", "install", f"DESTDIR={directory}", "PREFIX=/usr"]
    subprocess.run(command, cwd=ROOT, check=True)
    for unit in directory.glob("usr/lib/systemd/*/*.service"):
        unit.write_text(unit.read_text().replace("/usr/", f"{directory}/usr/"))
    return directory / "usr"


def system_units() -> list[Path]:
    return sorted((ROOT / "units").glob("*.service"))


def instance(unit: Path) -> str:
    """A template is looked at as one of its instances."""
    return unit.name.replace("@.", "@1000.")


@pytest.mark.parametrize("unit", system_units(), ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_a_system_unit(prefix: Path, unit: Path) -> None:
    file = prefix / "lib/systemd/system" / instance(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", sorted((ROOT / "units/user").glob("*.service")), ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_a_user_unit(prefix: Path, unit: Path) -> None:
    file = prefix / "lib/systemd/user" / unit.name
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", "--recursive-errors=no", file],
        env={"XDG_RUNTIME_DIR": str(prefix)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", system_units(), ids=lambda unit: unit.name)
def test_a_system_unit_is_closed(prefix: Path, unit: Path) -> None:
    file = prefix / "lib/systemd/system" / instance(unit)
    threshold = f"--threshold={EXPOSURE[unit.name]}"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", threshold, file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "unit",
    [*(ROOT / "units/user").glob("*.service"), ROOT / "units/musterd-warden@.service"],
    ids=lambda unit: unit.name,
)
def test_a_unit_whose_user_can_start_things_in_it_is_not_protected_when_memory_is_short(unit: Path) -> None:
    """Checks and tmux servers, and what a user has a process of its own do, would have it, too."""
    lines = unit.read_text().splitlines()
    assert [
        line for line in lines if line.startswith(("OOMScoreAdjust=-", "MemoryMin=", "MemoryLow="))
    ] == []


def test_the_bus_starts_the_unit_by_its_alias() -> None:
    alias = "dbus-org.musterd.Muster1.service"
    assert f"Alias={alias}\n" in (ROOT / "units/musterd.service").read_text()
    assert f"SystemdService={alias}\n" in (ROOT / "dbus/org.musterd.Muster1.service").read_text()
