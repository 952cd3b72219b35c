"""Brings ended sessions back, one at a time each, and waits until they are on the roll again."""

import asyncio
from dataclasses import replace

from musterd.core.errors import Busy, Failed, LimitReached, MusterError, NotResumable
from musterd.core.session import Agent, Session
from musterd.core.units import USEC_PER_SEC
from musterd.manager import Manager
from musterd.ports import Caller

# Bringing one back and back again is a sign that something is wrong: from then on its user is to be asked.
RESUMES_A_DAY = 3
DAY = 86400 * USEC_PER_SEC

# Seconds from the start of an agent to its recognition; the slowest takes six on a busy machine.
APPEARANCE = 30.0


class Reviver:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._under_way: set[tuple[int, Agent, str]] = set()

    async def resume(self, caller: Caller, session_id: str, *, is_asked: bool = False) -> Session:
        """The session, alive again under the same id. Raises NotResumable, LimitReached, Busy, Failed.

        `is_asked`: its user wants it, however often it was.
        """
        session = await self._manager.session(caller, session_id)
        conversation = session.uid, session.agent, session.agent_session_id or session.id
        if conversation in self._under_way:
            raise Busy(f"The conversation of session '{session.id}' is being resumed already.")
        recent = self._check(session, is_asked=is_asked)
        self._under_way.add(conversation)
        try:
            return await self._resume(session, recent)
        finally:
            self._under_way.discard(conversation)

    async def _resume(self, session: Session, recent: tuple[int, ...]) -> Session:
        manager = self._manager
        session = replace(session, resumes=(*recent, manager.ports.clock.now()))
        await manager.ports.store.save(session)  # first: who is killed meanwhile has counted it
        manager.registry.put(session)
        revived = manager.enrolment.await_revival(session.id)
        try:
            await self._start(session, recent)
            async with asyncio.timeout(APPEARANCE):
                return await revived
        except TimeoutError:
            raise Failed(
                f"Session '{session.id}' was started, but did not appear within {APPEARANCE:g} s: "
                f"look at its terminal, or run {' '.join(session.resume_command)!r}."
            ) from None
        finally:
            revived.cancel()

    async def _start(self, session: Session, recent: tuple[int, ...]) -> None:
        """What is refused was not started, and does not count."""
        try:
            await (await self._manager.warden_of(session.uid)).resume(session)
        except MusterError:
            if self._manager.registry.find(session.id) is session:
                self._manager.roll.change(session, replace(session, resumes=recent))
            raise

    def _check(self, session: Session, *, is_asked: bool) -> tuple[int, ...]:
        """When it was resumed the past day, the latest; refuses if it cannot or should not be now."""
        if session.is_current:
            raise NotResumable(f"Session '{session.id}' has not ended.")
        if not session.resume_command:
            raise NotResumable(f"It is not known how to resume session '{session.id}'.")
        registry = self._manager.registry
        live = registry.by_agent_session(session.agent, session.agent_session_id, session.uid)
        if live:
            raise NotResumable(f"Its conversation is open already, in session '{live[0].id}'.")
        now = self._manager.ports.clock.now()
        recent = tuple(at for at in session.resumes if now - at < DAY)
        if len(recent) >= RESUMES_A_DAY and not is_asked:
            by_hand = " ".join(session.resume_command)
            raise LimitReached(
                f"Session '{session.id}' was resumed {RESUMES_A_DAY} times in a day; by hand: {by_hand}"
            )
        return recent[1 - RESUMES_A_DAY :]  # with the one that follows: more say no more
