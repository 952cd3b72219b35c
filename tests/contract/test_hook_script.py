"""musterd-hook is a plain shell script wherever it is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOOK = ROOT / "daemon/musterd-hook"
INSTALLED = Path(sys.executable).parent / HOOK.name


@pytest.mark.parametrize("shell", [["sh"], ["dash"], ["bash", "--posix"]], ids=" ".join)
def test_a_shell_can_read_it(shell: list[str]) -> None:
    done = subprocess.run([*shell, "-n", HOOK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_what_an_editable_installation_has() -> None:
    assert INSTALLED.exists(), "there is none: run 'make venv'"
    assert os.access(INSTALLED, os.X_OK)
    assert INSTALLED.read_bytes() == HOOK.read_bytes(), "it is another one: run 'make venv'"


def test_a_package_has_it_among_the_programs(tmp_path: Path) -> None:
    (tmp_path / "dbus_fast").mkdir()
    install = ROOT / "packaging/install.py"
    subprocess.run([sys.executable, install, tmp_path / "root", "/usr", tmp_path], check=True)
    packaged = tmp_path / "root/usr/bin" / HOOK.name
    assert os.access(packaged, os.X_OK)
    assert packaged.read_bytes() == HOOK.read_bytes()
    assert (tmp_path / "root/usr/share/man/man1/musterd-hook.1").exists()
