"""Sweeps: leaders that nobody has registered are found among all processes, and told of once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from musterd.core.errors import NoSuchSession
from musterd.core.session import PidRef
from musterd.host.table import Table
from musterd.warden.follower import Follower
from musterd.warden.guard import Mistakes
from musterd.warden.leaders import Leaders
from musterd.warden.pause import Pause
from musterd.warden.recognise import Found, Recogniser
from musterd.warden.watch import Watch
from musterd.warden_port import Appeared

logger = logging.getLogger(__name__)

Key = tuple[int, int]  # pid and start of a process


class Sweeps:
    """`all_processes` is a pass over /proc."""

    def __init__(
        self,
        watch: Watch,
        recogniser: Recogniser,
        leaders: Leaders,
        mistakes: Mistakes,
        all_processes: Callable[[], Awaitable[Table]],
    ) -> None:
        self._watch = watch
        self._recogniser = recogniser
        self._leaders = leaders
        self._mistakes = mistakes
        self._all_processes = all_processes
        self._announced: set[Key] = set()  # leaders that were told of
        self._sweeping = asyncio.Lock()

    def remember(self, process: PidRef) -> None:
        """It is known already."""
        self._announced.add(_key(process))

    def forget(self, process: PidRef) -> None:
        self._announced.discard(_key(process))

    def prune(self, alive: Collection[Key]) -> None:
        """Forget who has ended. Who is followed may be missing among these."""
        followed = {_key(follower.process) for follower in self._watch.followers.values()}
        self._announced &= {*alive, *followed}

    async def sweep(self) -> None:
        """As warden_port.Warden.sweep."""
        async with self._sweeping:
            table = await self._all_processes()
            followers = list(self._watch.followers.values())
            await self._read_anew(followers)
            pause = Pause()
            for follower in followers:
                self._hold(follower)
                await pause()
            for found in self._recogniser.all(table):
                if (found.row.pid, found.row.start_ticks) not in self._announced:
                    await self._announce(found, table)
                await pause()

    async def _read_anew(self, followers: list[Follower]) -> None:
        for follower in followers:
            follower.arrange()
        with self._watch.portions(followers) as portions:
            for some in portions:
                await self._watch.read(some)

    def _hold(self, follower: Follower) -> None:
        if not self._watch.is_followed(follower) or follower.session.agent_session_id:
            return
        try:
            self._watch.hold(follower)
        except Exception as exc:  # noqa: BLE001 - of one session; the next look tells
            why = self._mistakes.why(follower.adapter, exc)
            logger.debug("Session '%s' cannot be looked at: %s", follower.session.id, why)

    async def _announce(self, found: Found, table: Table) -> None:
        try:
            leader = await self._leaders.describe(found, table)
        except NoSuchSession:
            return  # it ended while we looked
        except Exception as exc:  # noqa: BLE001 - of one process; the next sweep finds it again
            why = self._mistakes.why(found.adapter, exc)
            logger.warning("Process %d cannot be described: %s, ignoring", found.row.pid, why)
            return
        if _key(leader.process) not in self._announced:  # it may have registered meanwhile
            self.remember(leader.process)
            self._watch.events.put_nowait(Appeared(leader))


def _key(process: PidRef) -> Key:
    return process.pid, process.start_ticks
