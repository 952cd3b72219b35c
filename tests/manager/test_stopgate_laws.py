"""What holds for the stop gate whatever agents, users, operators and crashes do, and in whatever order."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import SECOND
from helpers.fakes import ALICE, ROOT, Bench
from musterd.core.errors import LimitReached
from musterd.core.evidence import Work
from musterd.core.session import Agent, SessionId
from musterd.core.spec import Spec
from musterd.core.stopgate import HEAD, IN_A_ROW, GateMode

DEEDS = (
    "stop", "stop", "stop", "stop again", "other reasons", "other reasons", "prompt", "echo", "claim",
    "done", "release", "shadow", "enforce", "restart",
)  # fmt: skip
deeds = st.lists(st.sampled_from(DEEDS), max_size=80)


class Play:
    """One session and one agent; counts what the agent feels."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.alice.start(1)
        self.session = SessionId("")
        self.work = self.in_a_row = 0
        self.is_released = False  # a claim, since the last prompt

    async def begin(self) -> None:
        manager = self.bench.manager
        self.session = (await manager.register(ALICE, Spec(pid=1, agent_session_id="t1"))).id
        await self.bench.gatekeeper.set_mode(ROOT, "enforce", "")

    async def say(self, event: str, **payload: object) -> str:
        self.bench.clock.time += SECOND
        told = {"id": "t1", **payload}
        alice = replace(ALICE, pid=1)
        _, output = await self.bench.hooks.report_event(alice, Agent.CODEX, event, told)
        return str(json.loads(output).get("reason", ""))

    async def do(self, deed: str) -> None:
        claims = self.bench.manager.claims.active(self.session)
        match deed:
            case "stop" | "stop again":
                await self.stop(again=deed == "stop again")
            case "other reasons":
                self.work += 1
                self.bench.alice.unfinished[self.session] = Work(uncommitted=self.work)
            case "prompt":
                self.in_a_row, self.is_released = 0, False
                await self.say("turn-start", prompt="go on")
            case "echo":
                await self.say("turn-start", prompt=f"{HEAD}: ...")
            case "claim":
                with suppress(LimitReached):
                    spec = {"session": self.session, "task": "tidy", "budget": "large"}
                    await self.bench.claiming.claim(ALICE, spec)
            case "done" if claims:
                await self.bench.claiming.update(ALICE, claims[0], {"phase": "done"})
            case "release" if claims:
                self.is_released = True
                await self.bench.claiming.release(ALICE, claims[-1])
            case "shadow" | "enforce":
                await self.bench.gatekeeper.set_mode(ROOT, deed, "")
            case "restart":
                await self.restart()

    async def stop(self, *, again: bool) -> None:
        mode = self.bench.manager.modes.gate
        reason = await self.say("stop", stop_hook_active=again)
        if reason:
            assert mode is GateMode.ENFORCE
            assert self.bench.manager.claims.active(self.session)
            self.in_a_row += 1
        for claim in self.bench.manager.claims:
            assert claim.enforced.used <= claim.budget.holds
            assert claim.shadowed.used <= claim.budget.holds
            on_disk = self.bench.store.claims[claim.id]
            assert on_disk == claim
        assert self.in_a_row <= IN_A_ROW

    async def restart(self) -> None:
        """Killed, and started again; all that is left is on disk, and the agent."""
        self.bench = Bench(past=self.bench)
        await self.bench.manager.load()
        if self.is_released:
            self.in_a_row = 0  # the count went with the claim, as its agent wished


@given(deeds)
def test_no_order_of_things_holds_an_agent_for_ever(done: Sequence[str]) -> None:
    async def play() -> None:
        story = Play()
        await story.begin()
        for deed in ("claim", *done):
            await story.do(deed)
        for _ in range(IN_A_ROW + 1):
            await story.do("other reasons")
            if not await story.say("stop"):
                return
        raise AssertionError("it is held for ever")

    asyncio.run(play())
