"""Which wardens are there: each is told what to watch, listened to, and called again when it is lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import chain, repeat

from musterd.core.errors import Failed, MusterError
from musterd.core.registry import Registry
from musterd.core.session import Session
from musterd.warden_port import Warden, WardenEvent, Wardens

logger = logging.getLogger(__name__)

# Seconds between two attempts to have a warden back whose user has sessions; the last one repeats.
RETRIES = (1.0, 5.0, 15.0, 60.0)


class Attendance:
    """`take_up` has a session watched, `hear` takes an event, `trouble` says how a part does ("": well)."""

    def __init__(
        self,
        registry: Registry,
        wardens: Wardens,
        take_up: Callable[[Session], Awaitable[None]],
        hear: Callable[[Warden, WardenEvent], Awaitable[None]],
        trouble: Callable[[str, str], None],
    ) -> None:
        self._registry = registry
        self._wardens = wardens
        self._take_up = take_up
        self._hear = hear
        self._trouble = trouble
        self._begun: set[int] = set()  # users whose warden was there from the beginning
        self._wanted: set[int] = set()

    async def begin(self) -> None:
        """Take up the sessions whose wardens are there already; those of others when theirs come."""
        for session in self._registry.current():
            if session.leader is None:
                await self._take_up(session)
            elif self._wardens.find(session.uid):
                self._begun.add(session.uid)
                await self._take_up(session)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for uid in {session.uid for session in self._registry.current()}:
                tasks.create_task(self._want(uid), name=f"want-{uid}")
            async for warden in self._wardens.arrivals():
                tasks.create_task(self._attend(warden, tasks), name=f"warden-{warden.uid}")

    async def _attend(self, warden: Warden, tasks: asyncio.TaskGroup) -> None:
        """From its coming until it is lost."""
        uid = warden.uid
        self._trouble(f"warden-{uid}", "")
        if uid not in self._begun:
            for session in self._local(uid):
                await self._take_up(session)
        self._begun.discard(uid)
        async for event in warden.events():
            try:
                await self._hear(warden, event)
            except MusterError as exc:
                logger.warning("%s, ignoring", exc)
            except Exception:
                logger.exception("An event of the warden of user %d was lost", uid)
        if self._wardens.find(uid) is not warden and self._local(uid):
            self._trouble(f"warden-{uid}", f"the warden of user {uid} is down")
            tasks.create_task(self._want(uid, after=RETRIES[0]), name=f"want-{uid}")

    async def _want(self, uid: int, after: float = 0.0) -> None:
        """Have a warden started for as long as its user has sessions and there is none."""
        if uid in self._wanted:
            return
        self._wanted.add(uid)
        try:
            await asyncio.sleep(after)
            for delay in chain(RETRIES, repeat(RETRIES[-1])):
                if not self._local(uid) or await self._get(uid):
                    break
                await asyncio.sleep(delay)
            self._trouble(f"warden-{uid}", "")
        finally:
            self._wanted.discard(uid)

    async def _get(self, uid: int) -> bool:
        try:
            await self._wardens.get(uid)
        except Failed as exc:
            self._trouble(f"warden-{uid}", f"the warden of user {uid} is down: {exc}")
            return False
        return True

    def _local(self, uid: int) -> list[Session]:
        return [session for session in self._registry.current(uid) if session.leader is not None]
