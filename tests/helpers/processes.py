"""Processes to be leaders, which do nothing until they are ended; and what a process has open."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress


@contextmanager
def sleepers(count: int) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """They end with the block, and with their parent."""
    started = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            assert process.stdin
            process.stdin.close()
            process.wait()


def open_files(pid: int) -> list[str]:
    """What the fds of a process lead to; without those that it closes meanwhile."""
    found, folder = [], f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{fd}"))
    return found
