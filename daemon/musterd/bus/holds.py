"""Inhibitors as file descriptors: held as long as a copy of the write end is open anywhere."""

import asyncio
import os
from collections.abc import Callable

from musterd.core.errors import LimitReached
from musterd.ports import Pipe


class Holds:
    """Keeps the read ends. The kernel reports the end of the last write end, however its holder died."""

    def __init__(self, on_release: Callable[[int], None]) -> None:
        self._on_release = on_release
        self._reads: dict[int, int] = {}  # inhibitor: read end

    def give_out(self, number: int, pipe: Pipe | None) -> int:
        """The fd for the client; the front closes our copy of it once it is sent.

        Without a pipe it hangs on one that ends with us. Without an fd there is no inhibitor: it is given
        back, and LimitReached raised.
        """
        try:
            pipe = pipe or Pipe(*os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as exc:
            self._on_release(number)
            raise LimitReached(f"There is no file descriptor to be had: {exc.strerror}.") from exc
        self.follow(number, pipe.read)
        return pipe.write

    def follow(self, number: int, read: int) -> None:
        """That pipe is ours from now on."""
        self._reads[number] = read
        asyncio.get_running_loop().add_reader(read, self._readable, number)

    def drop(self, number: int) -> None:
        """The inhibitor is gone, whoever still holds the other end."""
        if (read := self._reads.pop(number, None)) is not None:
            asyncio.get_running_loop().remove_reader(read)
            os.close(read)

    def _readable(self, number: int) -> None:
        """Its holders are gone, or one writes into it, which is no way to hold anything."""
        self.drop(number)
        self._on_release(number)

    def close(self) -> None:
        for number in list(self._reads):
            self.drop(number)
