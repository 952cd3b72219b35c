"""The end of a process, told by the kernel: a pidfd becomes readable (pidfd_open(2))."""

import asyncio
from collections.abc import Callable

from musterd.core.session import PidRef
from musterd.host.process import HeldProcess


class ExitWatch:
    """Holds a process from now until it ends or is forgotten; `ended` is called once, in the loop.

    ProcessLookupError if the process has ended, or is not the one that is meant.
    """

    def __init__(self, process: PidRef, ended: Callable[[], None]) -> None:
        self._held = HeldProcess(process.pid)
        if not self._held.ref.is_same(process):
            self._held.close()
            raise ProcessLookupError(f"process {process.pid} is another one now")
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._held.fileno(), self._notice)

    @property
    def process(self) -> PidRef:
        """With the inode of its pidfd, even if it was asked for without."""
        return self._held.ref

    @property
    def has_ended(self) -> bool:
        """True even before the loop was told."""
        return self._held.fileno() < 0 or self._held.has_ended

    def close(self) -> None:
        if self._held.fileno() >= 0:
            self._loop.remove_reader(self._held.fileno())
            self._held.close()

    def _notice(self) -> None:
        self.close()
        self._ended()
