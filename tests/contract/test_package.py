"""The package is of this version."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_version_of_the_package_is_that_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (ROOT / "packaging/debian/changelog").read_text().startswith(f"musterd ({version}) ")
