"""What a process has open, and what it holds locked."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from musterd.host.process import is_shortage, read_bytes

FD_LIMIT = 4096  # more open files than that are not looked through
_LOCKS_LIMIT = 8 * 1024 * 1024

_FLOCK = re.compile(rb"^\d+: FLOCK +\w+ +\w+ +(\d+) ", re.MULTILINE)


def open_files(pid: int) -> dict[int, str]:
    """The absolute paths of its open files, by fd; empty if they may not be read."""
    files = {}
    with _refused():
        for fd in os.listdir(f"/proc/{pid}/fd")[:FD_LIMIT]:
            with _refused():
                path = os.fsencode(os.readlink(f"/proc/{pid}/fd/{fd}")).decode(errors="replace")
                if path.startswith("/") and not path.startswith("/dev/"):
                    files[int(fd)] = path
    return files


@contextmanager
def _refused() -> Iterator[None]:
    """It ended, closed the file, or is not ours to look at."""
    try:
        yield
    except OSError as exc:
        if is_shortage(exc):
            raise


def parse_locks(text: bytes) -> set[int]:
    """The processes that hold an flock(2): "1: FLOCK ADVISORY WRITE PID ..." in proc_locks(5)."""
    return {int(pid) for pid in _FLOCK.findall(text)}


def lock_holders() -> set[int]:
    return parse_locks(read_bytes("/proc/locks", _LOCKS_LIMIT))


def locked_files(pid: int, files: dict[int, str]) -> list[str]:
    """Which of its open files it holds an flock(2) on.

    By /proc/PID/fdinfo (proc_pid_fdinfo(5)): device numbers in /proc/locks do not agree with stat(2) on some
    file systems (btrfs, overlay).
    """
    found = []
    for fd, path in files.items():
        with _refused():
            info = read_bytes(f"/proc/{pid}/fdinfo/{fd}", 8192)
            if any(line.startswith(b"lock:") and b" FLOCK " in line for line in info.splitlines()):
                found.append(path)
    return found
