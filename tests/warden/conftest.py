"""What several files of this directory stand on."""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.programs import until


@pytest.fixture
def scope() -> Iterator[Path]:
    """A cgroup as the service manager would make it, in the v2 hierarchy or the hybrid's."""
    mounts = [text.split() for text in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = next(Path(words[4]) for words in mounts if "cgroup2" in words)
    directory = root / f"musterd-{os.getpid()}-{secrets.token_hex(4)}.scope"
    try:
        directory.mkdir()
    except OSError as exc:
        pytest.skip(f"no cgroup can be made here: {exc.strerror}")
    yield directory
    until(lambda: _is_removed(directory), "it is empty")


def _is_removed(directory: Path) -> bool:
    """What is about to end is not listed any more, and is still in it for a moment."""
    with suppress(OSError):
        directory.rmdir()
    return not directory.exists()
