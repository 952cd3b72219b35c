"""Real memory stalls, without harm: a small control group whose processes read a file that does not fit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

LIMIT = 60 * 2**20
FILE_SIZE = 200 * 2**20
READERS = 4

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")

# Joins the group first, or the pages are charged to us and nothing stalls; ends when its stdin does.
READER = """
import mmap, os, select, sys
with open(sys.argv[1], "w") as procs:
    procs.write(str(os.getpid()))
with open(sys.argv[2], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
    while not select.select([0], [], [], 0)[0]:
        sum(pages[start] for start in range(0, len(pages), 4096))
"""


class Stall:
    """Readers to be started and stopped, as often as one likes."""

    def __init__(self, group: Path, file: Path) -> None:
        self._group = group
        self._file = file

    @contextmanager
    def running(self) -> Iterator[None]:
        _drop_cache(self._file)
        with ExitStack() as stack:
            for _ in range(READERS):
                command = [
                    sys.executable,
                    "-S",
                    "-c",
                    READER,
                    str(self._group / "cgroup.procs"),
                    str(self._file),
                ]
                stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))
            yield


@contextmanager
def memory_stall(directory: Path) -> Iterator[Stall]:
    """A small group and a big file in `directory`, which must be on a disk."""
    group = _new_group()
    try:
        yield Stall(group, _big_file(directory))
    finally:
        group.rmdir()


def _new_group() -> Path:
    name = f"musterd-test-{os.getpid()}"
    for parent, limit in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
        controllers = parent / "cgroup.subtree_control"
        if parent is V2 and not (controllers.exists() and "memory" in controllers.read_text().split()):
            continue
        try:
            (parent / name).mkdir()
        except OSError:
            continue
        (parent / name / limit).write_text(str(LIMIT))
        return parent / name
    pytest.skip("no memory control group can be made here: no such controller, or not root")


def _big_file(directory: Path) -> Path:
    path = directory / "big"
    block = os.urandom(2**20)
    with path.open("wb") as file:
        for _ in range(FILE_SIZE // len(block)):
            file.write(block)
    return path


def _drop_cache(path: Path) -> None:
    """Cached pages stay charged to whoever read them first."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
