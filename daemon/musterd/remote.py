"""Sessions on other hosts: nothing here can see their leaders, so they live by heartbeats."""

import asyncio
from dataclasses import replace

from musterd import enrol
from musterd.core.errors import InvalidArgs
from musterd.core.session import Agent, Session, Source, State
from musterd.core.spec import Spec
from musterd.core.suspend import awake
from musterd.core.units import USEC_PER_SEC
from musterd.manager import Manager
from musterd.ports import Caller

# Offline after 90 s without a heartbeat, and off the roll 30 s later.
HEARTBEAT_LIMIT = 90 * USEC_PER_SEC
OFFLINE_LIMIT = 30 * USEC_PER_SEC
SWEEP = 15.0  # seconds


class RemoteSessions:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._registered = asyncio.Event()

    async def register(self, caller: Caller, spec: Spec) -> Session:
        """A new one takes the place of an offline one of the same host, directory and agent."""
        agent = spec.agent or Agent.OTHER
        place = caller.uid, spec.host, spec.cwd, agent
        for session in self._all():
            if (session.uid, session.host, session.cwd, session.agent) != place:
                continue
            if session.state is State.OFFLINE:
                self._manager.roll.end(session, "replaced")
            elif session.agent_session_id == spec.agent_session_id:
                return self._beat(session)
        session = enrol.said(caller.uid, spec, self._manager.ports.clock.now())
        limits = self._manager.config.limits
        session = await self._manager.roll.enlist(session, "registered", limits)
        self._registered.set()
        return session

    async def heartbeat(self, caller: Caller, session_id: str) -> None:
        session = await self._manager.session(caller, session_id)
        if session.leader is not None:
            raise InvalidArgs(
                f"Session '{session.id}' needs no heartbeats: its process {session.leader.pid} is watched."
            )
        self._beat(session)

    def _beat(self, session: Session) -> Session:
        state = State.IDLE if session.state is State.OFFLINE else session.state
        after = replace(session, heartbeat_usec=self._manager.ports.clock.now(), state=state)
        self._manager.roll.change(session, after)
        return after

    async def run(self) -> None:
        """Sweep, but only while there is something to sweep."""
        while True:
            if not self._all():
                self._registered.clear()
                await self._registered.wait()
            await asyncio.sleep(SWEEP)
            self.sweep()

    def sweep(self) -> None:
        clock = self._manager.ports.clock
        now, stepped, suspends = clock.now(), clock.stepped(), clock.suspends()
        for session in self._all():
            # Its silence counts from when the clock was set, and while we could hear.
            beat = session.heartbeat_usec if stepped <= session.heartbeat_usec <= now else stepped or now
            silent = awake(beat, now, suspends)
            if silent > HEARTBEAT_LIMIT + OFFLINE_LIMIT:
                self._manager.roll.end(session, "offline")
            elif silent > HEARTBEAT_LIMIT and session.state is not State.OFFLINE:
                offline = replace(session, state=State.OFFLINE, state_source=Source.CALLER)
                self._manager.roll.change(session, offline)

    def _all(self) -> list[Session]:
        return [s for s in self._manager.registry.current() if s.leader is None]
