"""The packages are of this version, and bring what the service cannot do without."""

import re
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
