"""Processes to be leaders: they do nothing until they are ended."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


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
