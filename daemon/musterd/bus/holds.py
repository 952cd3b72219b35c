"""Inhibitors as file descriptors: held as long as a copy of the write end is open anywhere."""

import asyncio
import os
from collections.abc import Callable


class Holds:
    """Keeps the read ends. The kernel reports the end of the last write end, however its holder died."""

    def __init__(self, on_release: Callable[[int], None]) -> None:
        self._on_release = on_release
        self._reads: dict[int, int] = {}  # inhibitor: read end

    def give_out(self, number: int) -> int:
        """The fd for the client; the front closes our copy of it once it is sent."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._reads[number] = read
        asyncio.get_running_loop().add_reader(read, self._readable, number)
        return write

    def _readable(self, number: int) -> None:
        if os.read(self._reads[number], 4096):
            return  # nothing is expected through it; what comes is thrown away
        self._close(number)
        self._on_release(number)

    def _close(self, number: int) -> None:
        read = self._reads.pop(number)
        asyncio.get_running_loop().remove_reader(read)
        os.close(read)

    def close(self) -> None:
        for number in list(self._reads):
            self._close(number)
