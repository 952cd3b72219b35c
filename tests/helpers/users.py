"""Several users on one bus: only root can play them all."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.daemon import DAEMON

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be several users")

# Users that every Debian has, and that run nothing (base-passwd).
MUSTERD, ALICE, BOB = 9, 5, 7

PYTHON = os.path.realpath(sys.executable)
LIBRARIES = ("dbus_fast", "psutil", "sdnotify", "tomli_w")


def as_user(uid: int, *command: str) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--", *command]


@contextmanager
def shared_directory() -> Iterator[Path]:
    """One that all of them may enter."""
    directory = Path(tempfile.mkdtemp(prefix="musterd-"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def shared_library() -> Iterator[Path]:
    """musterd and all that it imports, where all of them may read it: a checkout may be private."""
    with shared_directory() as directory:
        subprocess.run(["cp", "-rL", str(DAEMON), str(directory / "lib")], check=True)
        for library in LIBRARIES:
            spec = find_spec(library)
            assert spec is not None
            assert spec.origin is not None
            origin = Path(spec.origin)
            if origin.name == "__init__.py":
                shutil.copytree(origin.parent, directory / "lib" / library)
            else:
                shutil.copy(origin, directory / "lib")
        (directory / "lib" / "helpers").mkdir()
        shutil.copy(Path(__file__).with_name("patience.py"), directory / "lib" / "helpers")
        subprocess.run(["chmod", "-R", "a+rX", str(directory / "lib")], check=True)
        yield directory / "lib"


def home_of(directory: Path, uid: int) -> Path:
    home = directory / f"home-{uid}"
    if not home.exists():
        home.mkdir()
        os.chown(home, uid, uid)
    return home


def environ(directory: Path, uid: int, bus: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    own = {"HOME": str(home_of(directory, uid)), "MUSTERD_BUS": bus, "PYTHONPATH": str(directory / "lib")}
    return {**kept, **own, "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}
