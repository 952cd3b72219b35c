"""A program that this one runs, and ends: by its pidfd, which never means another process.

Not by asyncio's own subprocesses: to signal one that has just ended they may reap it themselves, and then
complain on stderr and lose its exit status.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from .failure import CtlError


class Child:
    """A running program, until `started` is left."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.has_ended = asyncio.Event()

    def terminate(self) -> None:
        self._process.terminate()  # nothing, if it has ended already

    async def wait(self) -> int:
        """Its exit status; minus the number of the signal that ended it."""
        await self.has_ended.wait()
        return self._process.wait()

    async def end(self, patience: float) -> None:
        """SIGTERM, and SIGKILL after so many seconds."""
        self.terminate()
        try:
            async with asyncio.timeout(patience):
                await self.has_ended.wait()
        except TimeoutError:
            self._process.kill()
        self._process.wait()


@asynccontextmanager
async def started(command: Sequence[str], stream: int | None = None, *, name: str) -> AsyncIterator[Child]:
    """`stream`: what it has as stdin and stdout, instead of ours; `name`: as its user knows it. CtlError."""
    process = _start(command, stream, name)
    child, pidfd = Child(process), os.pidfd_open(process.pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, child.has_ended.set)
    try:
        yield child
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _start(command: Sequence[str], stream: int | None, name: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdin=stream, stdout=stream)
    except OSError as exc:
        raise CtlError(f"Cannot run {name}: {exc.strerror}.") from exc
