"""Which session a process becomes: a new one, the one that it leads already, or one that is brought back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from musterd import enrol
from musterd.core.config import LimitsConfig
from musterd.core.session import Session, SessionId
from musterd.core.spec import Spec
from musterd.ports import Ports
from musterd.roll import Roll
from musterd.warden_port import Leader


class Enrolment:
    def __init__(self, roll: Roll, ports: Ports, limits: Callable[[], LimitsConfig]) -> None:
        self._roll = roll
        self._registry = roll.registry
        self._ports = ports
        self._limits = limits  # by now
        self._revivals: dict[SessionId, asyncio.Future[Session]] = {}
        self._entering: dict[int, asyncio.Event] = {}  # by pid

    async def enrol(self, leader: Leader, spec: Spec, how: str) -> Session:
        """A new session, or the one that this process leads, or once led. On disk when it returns."""
        async with self._one_at_a_time(leader.process.pid):
            return await self._enter(leader, spec, how)

    @asynccontextmanager
    async def _one_at_a_time(self, pid: int) -> AsyncIterator[None]:
        """A hook, a caller and who looks for agents may all bring the same process at once."""
        while before := self._entering.get(pid):
            await before.wait()
        self._entering[pid] = asyncio.Event()
        try:
            yield
        finally:
            self._entering.pop(pid).set()

    async def _enter(self, leader: Leader, spec: Spec, how: str) -> Session:
        seen = enrol.seen(leader, spec, self._ports.clock.now())
        session = self._alone(self._roll.completed(seen))
        known = self._registry.by_leader(leader.process)
        if known is not None and known.uid == leader.facts.uid:
            return await self._roll.update(known, session)
        past = self._registry.find(leader.mark)
        if past and (past.uid, past.agent, past.is_current) == (session.uid, session.agent, False):
            return await self._revive(past, session)
        return await self._roll.enlist(session, how, self._limits())

    def _alone(self, session: Session) -> Session:
        """An agent that another one started is in that one's scope, and has none for itself."""
        if not session.scope:
            return session
        there = [other for other in self._registry.current(session.uid) if other.scope == session.scope]
        is_alone = all(other.leader == session.leader for other in there)
        return session if is_alone else replace(session, scope="")

    # Bringing back

    def is_awaited(self, leader: Leader) -> bool:
        return leader.mark in self._revivals

    def await_revival(self, session_id: SessionId) -> "asyncio.Future[Session]":
        """Done when the ended session is on the roll again; cancel it to wait no longer."""
        waiting: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._revivals[session_id] = waiting
        waiting.add_done_callback(lambda _: self._revivals.pop(session_id, None))
        return waiting

    async def _revive(self, past: Session, seen: Session) -> Session:
        session = await self._roll.revive(past, seen)
        waiting = self._revivals.pop(session.id, None)
        if waiting and not waiting.done():
            waiting.set_result(session)
        return session
