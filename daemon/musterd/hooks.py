"""What the hooks of agents report: whose they are, what they say, and what they must print."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial

from musterd.agents.base import Adapter, Json
from musterd.agents.fields import word
from musterd.core import life
from musterd.core.errors import InvalidArgs, NoSuchSession
from musterd.core.event import AgentEvent, EventKind
from musterd.core.session import Agent, Session, Source
from musterd.core.spec import Spec, text
from musterd.gatekeeper import Gatekeeper
from musterd.manager import Manager
from musterd.ports import Caller
from musterd.warden_port import Leader


class Hooks:
    def __init__(self, manager: Manager, gatekeeper: Gatekeeper) -> None:
        self._ports = manager.ports
        self._registry = manager.registry
        self._enrolment = manager.enrolment
        self._roll = manager.roll
        self._gatekeeper = gatekeeper

    async def report_event(
        self, caller: Caller, agent: Agent, event: str, payload: Json, *, begun: float | None = None
    ) -> tuple[bool, str]:
        """What a hook saw -> (block, what the hook must print). Finds or registers the session.

        `begun` is when it called, in the time of the loop; None is now.
        """
        begun = asyncio.get_running_loop().time() if begun is None else begun
        adapter = self._ports.adapters[agent]
        spoken = self._spoken(adapter, event, payload)
        is_reentrant, prompt = payload.get("stop_hook_active") is True, word(payload, "prompt")
        del payload  # it may have twenty times the bytes of its text, and a warden its user has stopped
        session = await self._reporter(caller, agent, spoken.cwd)
        if spoken.kind is not EventKind.STOP:
            self._gatekeeper.heard(session.id, spoken, prompt)
            await self._roll.hear(session.id, spoken, Source.HOOK)
            return False, adapter.nothing_to_say(event)
        hold = partial(adapter.block, event)
        try:
            held = await self._gatekeeper.ask(
                caller, session.id, spoken, hold, begun, is_reentrant=is_reentrant
            )
        finally:
            self._roll.answered(session.id)
        if held:
            spoken = life.held(self._registry.get(session.id), spoken)
        elif adapter.stop_is_end:
            spoken = replace(spoken, kind=EventKind.SETTLED)  # it is allowed, and nothing else will say so
        await self._roll.hear(session.id, spoken, Source.HOOK)
        return bool(held), held or adapter.nothing_to_say(event)

    def _spoken(self, adapter: Adapter, event: str, payload: Json) -> AgentEvent:
        try:
            return adapter.hook_event(event, payload, self._ports.clock.now())
        except ValueError as exc:
            raise InvalidArgs(f"{adapter.agent} event '{text(event)}': {exc}") from exc

    async def _reporter(self, caller: Caller, agent: Agent, cwd: str) -> Session:
        """Whose hook calls: the nearest agent of that name above it, recognised or registered by hand."""
        warden = await self._ports.wardens.get(caller.uid)
        leader: Leader | None = None
        with suppress(NoSuchSession):
            leader = await warden.leader(caller.pid, None)
        if leader and leader.agent is agent:
            known = self._registry.by_leader(leader.process)
            return known or await self._enrolment.enrol(leader, Spec(cwd=cwd), how="adopted by its hook")
        for process in await warden.lineage(caller.pid):
            if leader and process.is_same(leader.process):
                break  # what is above belongs to an agent around this one
            session = self._registry.by_leader(process)
            if session and (session.agent, session.uid) == (agent, caller.uid):
                return session
        raise NoSuchSession(f"Process {caller.pid} belongs to no {agent} that is known.")
