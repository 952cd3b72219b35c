"""The promises to keep sessions: an inhibitor of musterd's for each, until its time is over."""

import asyncio
import os
from collections.abc import Collection


class Holds:
    """Owns the fds that it is given."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}

    @property
    def sessions(self) -> Collection[str]:
        return tuple(self._fds)

    def take(self, session_id: str, fd: int, seconds: float) -> None:
        """Hold for that long from now; an older hold of the session ends."""
        self.release(session_id)
        self._fds[session_id] = fd
        self._ends[session_id] = asyncio.get_running_loop().call_later(seconds, self.release, session_id)

    def renew(self, session_id: str, fd: int) -> None:
        """Another fd, until the same time as before."""
        if session_id not in self._fds:  # its time came meanwhile
            os.close(fd)
            return
        os.close(self._fds[session_id])
        self._fds[session_id] = fd

    def release(self, session_id: str) -> None:
        if session_id in self._fds:
            self._ends.pop(session_id).cancel()
            os.close(self._fds.pop(session_id))

    def close(self) -> None:
        for session_id in self.sessions:
            self.release(session_id)
