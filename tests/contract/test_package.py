"""The packages are of this version, and bring what the service cannot do without."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_version_of_the_package_is_that_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (ROOT / "packaging/debian/changelog").read_text().startswith(f"musterd ({version}) ")


def test_polkit_is_no_matter_of_taste() -> None:
    """Nobody else lets a daemon that is not root have wardens started."""
    control = (ROOT / "packaging/debian/control").read_text()
    assert re.search(r"^Depends:(.*\n )* +polkitd,$", control, re.MULTILINE)
    spec = (ROOT / "packaging/rpm/musterd.spec").read_text()
    assert re.search(r"^Requires: +polkit$", spec, re.MULTILINE)


def test_no_other_package_has_a_file_of_that_name(tmp_path: Path) -> None:
    """Two packages with one file cannot be installed together."""
    (tmp_path / "dbus_fast").mkdir()
    install = ROOT / "packaging/install.py"
    subprocess.run([sys.executable, install, tmp_path / "root", "/usr", tmp_path], check=True)
    root = tmp_path / "root"
    files = [file.relative_to(root) for file in root.rglob("*") if file.is_file()]
    assert Path("usr/share/dbus-1/interfaces/org.musterd.Muster1.Manager.xml") in files
    assert [file for file in files if "muster" not in str(file)] == []
