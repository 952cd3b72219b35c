"""Linters are tests: their output is the failure."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--quiet"],
        ["ruff", "format", "--check", "--quiet"],
        ["mypy", "--no-error-summary"],
        ["lint-imports", "--no-cache"],
    ],
    ids=" ".join,
)
def test_linter_has_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


BROKEN = """
from musterd.manager import Manager
import logging
"""


def test_import_rules_are_seen_to_fail_when_broken(tmp_path: Path) -> None:
    """The same contracts over a copy in which the core imports what it must not."""
    copy = tmp_path / "daemon"
    subprocess.run(["cp", "-rL", str(ROOT / "daemon"), str(copy)], check=True)
    subprocess.run(["cp", str(ROOT / "pyproject.toml"), str(tmp_path)], check=True)
    with (copy / "musterd/core/turn.py").open("a") as module:
        module.write(BROKEN)
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=tmp_path, env={"PYTHONPATH": str(copy)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Imports point inwards BROKEN" in done.stdout
    assert "Core and agents do nothing but think BROKEN" in done.stdout


def test_no_python_in_the_directory_that_would_shadow_the_bus_library() -> None:
    assert list((ROOT / "dbus").glob("**/*.py")) == []
