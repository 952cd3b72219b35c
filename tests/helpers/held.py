"""An agent of alice's with a claim, on fakes: what it says, and what it is told."""

import json
from dataclasses import replace
from typing import Any

from helpers.builders import SECOND
from helpers.fakes import ALICE, BOB, Bench, FakeAgent
from musterd.core.claim import Claim
from musterd.core.config import Config, StopGateConfig
from musterd.core.evidence import Work
from musterd.core.session import Agent, Session
from musterd.core.spec import Spec
from musterd.core.stopgate import GateMode
from musterd.ports import Caller

PATIENT = Config(stop_gate=StopGateConfig(hook_timeout=60))  # a busy machine is no reason to let go


class Answering(FakeAgent):
    """A stop that is allowed is its end: nothing else will say so."""

    stop_is_end = True


class Held(Bench):
    """Alice's agent with a claim; bob is an operator, alice is none."""

    session: Session
    claim: Claim

    def __init__(self, config: Config | None = None, *, past: Bench | None = None) -> None:
        super().__init__(config or PATIENT, operators=[1001], past=past)
        self.alice.start(1)

    async def begin(self, mode: GateMode = GateMode.ENFORCE, **claim: object) -> "Held":
        self.session = await self.manager.register(
            ALICE, Spec(pid=1, agent_session_id="t1", terminal="tty1")
        )
        self.claim = await self.claiming.claim(ALICE, {"session": self.session.id, "task": "tidy", **claim})
        await self.gatekeeper.set_mode(BOB, mode, "a trial")
        await self.say("turn-start")
        return self

    async def say(
        self, event: str, caller: Caller = ALICE, agent_session: str = "t1", **payload: Any
    ) -> Any:
        self.clock.time += SECOND
        pid = replace(caller, pid=1) if caller is ALICE else caller
        return await self.hooks.report_event(pid, Agent.CODEX, event, {"id": agent_session, **payload})

    async def stop(self, **said: Any) -> str:
        """The reason of the hold, or "" if it may end."""
        block, output = await self.say("stop", **said)
        reason = str(json.loads(output).get("reason", ""))
        assert block is bool(reason)
        return reason

    async def stop_with(self, uncommitted: int, **said: Any) -> str:
        self.alice.unfinished[self.session.id] = Work(uncommitted=uncommitted)
        return await self.stop(**said)

    def now(self) -> Session:
        return self.manager.registry.get(self.session.id)

    def claimed(self) -> Claim:
        return self.manager.claims.get(self.claim.id)

    def last(self) -> tuple[str, str]:
        return self.log.records[-1].kind, self.log.records[-1].text
