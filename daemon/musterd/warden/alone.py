"""The wardens of single-user mode: one, in this process, from beginning to end."""

from collections.abc import AsyncIterator

from musterd.core.errors import Failed
from musterd.warden_port import Warden


class Alone:
    """Fulfils warden_port.Wardens."""

    def __init__(self, warden: Warden) -> None:
        self._warden = warden

    def find(self, uid: int) -> Warden | None:
        return self._warden if self._warden.uid == uid else None

    async def get(self, uid: int) -> Warden:
        if (warden := self.find(uid)) is None:
            raise Failed(f"This musterd serves no sessions of user {uid}.")
        return warden

    async def arrivals(self) -> AsyncIterator[Warden]:
        yield self._warden

    async def attach(self, uid: int, pid: int) -> int:
        raise Failed("This musterd serves one user, and looks after the sessions itself.")
