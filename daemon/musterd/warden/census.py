"""Which users seem to run agents: theirs are the wardens that look closer, before any hook has called.

All that is read is what the kernel itself says of a process to everybody: its owner, and its name. A
program may have any name, so this proves nothing; and one that goes by the name of its interpreter is not
found here.
"""

import asyncio
import logging
import os
from collections.abc import Iterable

from musterd.agents.base import Adapter
from musterd.core.errors import Failed
from musterd.host.process import read_stat
from musterd.host.subuid import is_subordinate
from musterd.host.ticks import next_tick
from musterd.together import all_of
from musterd.warden_port import Wardens

logger = logging.getLogger(__name__)

# A program gets its name a moment after its process has begun: it is read in this many passes.
LOOKS = 2


class Census:
    def __init__(self, wardens: Wardens, adapters: Iterable[Adapter], interval: float | None) -> None:
        self._wardens = wardens
        self._names = {name for adapter in adapters for name in adapter.comms}
        self._interval = interval  # seconds; None: look for nobody
        self._looks: dict[str, int] = {}  # how often each process was read

    async def run(self) -> None:
        while self._interval:
            found = await asyncio.to_thread(self.users)
            missing = [uid for uid in found if self._wardens.find(uid) is None]
            await all_of(map(self._call, missing))  # nobody waits for the warden of another
            await next_tick(self._interval)

    async def _call(self, uid: int) -> None:
        try:
            await self._wardens.get(uid)
        except Failed as exc:
            logger.warning("User %d seems to run agents, but %s, ignoring", uid, str(exc).rstrip("."))

    def users(self) -> set[int]:
        """Who has new processes with the name of an agent."""
        found = set()
        looks: dict[str, int] = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            looks[pid] = self._looks.get(pid, 0) + 1
            if looks[pid] <= LOOKS and (uid := self._owner(pid)) is not None:
                found.add(uid)
        self._looks = looks
        return {uid for uid in found if not is_subordinate(uid)}

    def _owner(self, pid: str) -> int | None:
        """Of a process with such a name; None of any other, or of one that has ended."""
        try:
            stat = read_stat(pid)
        except (ProcessLookupError, ValueError, OSError):
            return None
        return stat.owner if stat.comm in self._names else None
