"""What stays in memory all day is small: what a program does without is not even loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

DAEMON = Path(__file__).parents[2] / "daemon"


def loaded(code: str) -> set[str]:
    """The modules of a fresh interpreter after that."""
    code += "\nimport sys\nprint(*(name for name, module in sys.modules.items() if module))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(DAEMON)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "program",
    [
        "musterd.main, musterd.compose, musterd.single",
        "musterd.main, musterd.compose, musterd.system",
        "musterd.warden.service",
        "musterd.notifier.main",
    ],
)
def test_no_program_that_stays_loads_openssl(program: str) -> None:
    found = loaded(f"import {program}, hashlib\nhashlib.blake2b(), hashlib.sha256(), hashlib.md5()")
    assert "asyncio" in found
    assert not found & {"ssl", "_ssl", "_hashlib"}


def test_digests_that_only_openssl_has_are_still_taken_from_there() -> None:
    without = "import sys\nsys.modules['_md5'] = None\n"
    assert "_hashlib" in loaded(without + "import musterd.main, hashlib\nhashlib.md5(), hashlib.sha256()")


def test_of_single_user_mode_and_the_system_service_only_one_is_loaded() -> None:
    assert not loaded("import musterd.main, musterd.compose") & {"musterd.single", "musterd.system"}
    assert not loaded("import musterd.main, musterd.compose, musterd.single") & {
        "musterd.bus.polkit",
        "musterd.bus.systemd1",
        "musterd.warden.census",
        "musterd.warden.remotes",
    }
