"""Writes at leisure what was promised to nobody, and forgets what is too old to be of use."""

import asyncio
from collections.abc import Callable

from musterd.claims import Claims
from musterd.core.errors import Failed
from musterd.core.registry import Registry
from musterd.core.session import SessionId
from musterd.core.units import USEC_PER_SEC
from musterd.ports import Clock, Store

# Turns begin and end often: their last state is written a little later, not at each change.
SAVE_DELAY = 1.0

# After a write that failed: a full disk is not emptied in a second.
RETRY_DELAY = 30.0

PAST_SESSIONS_PER_USER = 100


class Keeper:
    """`trouble` is told why writing fails, or "" when it works again."""

    def __init__(
        self,
        registry: Registry,
        claims: Claims,
        store: Store,
        clock: Clock,
        keep: Callable[[], float],  # seconds for which ended sessions are remembered, by now
        trouble: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._claims = claims
        self._store = store
        self._clock = clock
        self._keep = keep
        self._trouble = trouble
        self._unsaved: set[SessionId] = set()
        self._given_back: set[int] = set()  # inhibitors of which something may be on disk
        self._wanted = asyncio.Event()

    def want(self, session_id: SessionId) -> None:
        self._unsaved.add(session_id)
        self._wanted.set()

    def forget_inhibitor(self, number: int) -> None:
        self._given_back.add(number)
        self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(SAVE_DELAY)
            self._wanted.clear()
            await self.flush()
            if self._unsaved or self._given_back:
                await asyncio.sleep(RETRY_DELAY)
                self._wanted.set()

    async def flush(self) -> None:
        try:
            await self._forget_the_oldest()  # first: those need not be written
            while self._unsaved:
                await self._save(self._unsaved.pop())
            while self._given_back:
                await self._remove_pipe(self._given_back.pop())
            await self._claims.forget_ownerless()
        except Failed as exc:
            self._trouble(str(exc))
        else:
            self._trouble("")

    async def _save(self, session_id: SessionId) -> None:
        session = self._registry.find(session_id)
        if session is None:
            return
        try:
            await self._store.save(session)
        except BaseException:  # also where we stop: others are written first, and it was not begun
            self._unsaved.add(session_id)
            raise
        if session_id not in self._registry:  # released while it was written
            await self._store.remove(session_id)

    async def _remove_pipe(self, number: int) -> None:
        try:
            await self._store.remove_pipe(number)
        except BaseException:
            self._given_back.add(number)
            raise

    async def _forget_the_oldest(self) -> None:
        """Ended sessions are remembered for as long as events are, and not more than a hundred a user."""
        oldest = self._clock.now() - int(self._keep() * USEC_PER_SEC)
        kept: dict[int, int] = {}
        forgotten: list[SessionId] = []
        for session in self._registry.past():
            kept[session.uid] = kept.get(session.uid, 0) + 1
            if session.ended_usec < oldest or kept[session.uid] > PAST_SESSIONS_PER_USER:
                self._registry.forget(session.id)
                forgotten.append(session.id)
        if forgotten:
            await self._store.remove(*forgotten)
