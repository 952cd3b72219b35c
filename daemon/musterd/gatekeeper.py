"""The stop gate at work: asks for the facts, in time, and acts on the core's decision as the mode allows.

Whatever fails or is late lets the turn end. A hold is on disk before the agent is told, so that no crash of
ours makes it more than its budget.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from musterd.authority import demand
from musterd.core.claim import Row
from musterd.core.errors import InvalidArgs, MusterError, NotAuthorized
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Work
from musterd.core.session import Session, SessionId
from musterd.core.spec import text
from musterd.core.state import Change
from musterd.core.stopgate import (
    Allow,
    Block,
    Decision,
    GateMode,
    Reason,
    Stop,
    decide,
    is_new_prompt,
    lets_go,
    row_after,
)
from musterd.manager import Manager
from musterd.ports import Action, Caller, Record

logger = logging.getLogger(__name__)

# Of the hook's time, for the hook itself: to start, to reach us, and to print what we said.
MARGIN = 0.5

# Left of ours when the facts are in, to write them down.
WRITING = 0.1

# Looks for work of one user at one time: each starts programs. Who waits too long for one may stop.
LOOKS = 4


@dataclass(frozen=True, slots=True)
class _Question:
    """Of a hook: may the turn end? `until` is when the answer is to be ready, in the time of the loop."""

    caller: Caller
    session_id: SessionId
    event: AgentEvent
    is_reentrant: bool
    hold: Callable[[str], str]
    until: float


class Gatekeeper:
    """`ask` and `heard` are called with what hooks report; `is_here` says whether one still waits."""

    def __init__(self, manager: Manager, is_here: Callable[[Caller], Awaitable[bool]]) -> None:
        self.is_here = is_here
        self._manager = manager
        self._ports = manager.ports
        self._claims = manager.claims
        # No user's agents go on, or stop, because those of another keep us busy.
        self._looks = defaultdict[int, asyncio.Semaphore](lambda: asyncio.Semaphore(LOOKS))

    @property
    def acting_mode(self) -> GateMode:
        """As it acts: what cannot be written down is not done."""
        return GateMode.OFF if self._ports.log.health else self._manager.modes.gate

    # An operator's orders

    async def set_mode(self, caller: Caller, mode: str, why: str) -> None:
        """On disk when it returns."""
        try:
            wanted = GateMode(mode)
        except ValueError:
            raise InvalidArgs(f"mode '{mode[:64]}' is not 'off', 'shadow' or 'enforce'") from None
        change = await self._change(caller, why)
        before = self._manager.modes.gate
        await self._manager.keep_modes(lambda modes: replace(modes, gate=wanted, gate_change=change))
        self._told(change, "gate-mode", f"stop gate {before} → {wanted}: {why}", "Mode")

    async def set_kill_switch(self, caller: Caller, why: str, *, on: bool) -> None:
        """On disk when it returns."""
        change = await self._change(caller, why)
        await self._manager.keep_modes(
            lambda modes: replace(modes, kill_switch=on, kill_switch_change=change)
        )
        words = "on" if on else "off"
        self._told(change, "kill-switch", f"kill switch of the stop gate {words}: {why}", "KillSwitch")

    async def _change(self, caller: Caller, why: str) -> Change:
        refusal = NotAuthorized("Only an operator may change the stop gate.")
        await demand(self._ports.authority, caller, Action.SET_MODE, refusal)
        return Change(caller.uid, self._ports.clock.now(), text(why))

    def _told(self, change: Change, kind: str, said: str, name: str) -> None:
        self._ports.log.append(Record(change.at, kind, uid=change.by_uid, text=said))
        self._ports.announcer.gate_changed(name, f"{name}UID", f"{name}USec", f"{name}Why")
        self._ports.announcer.manager_changed("Health", "HealthReasons")  # of a gate that cannot act

    # What hooks report

    def heard(self, session_id: SessionId, event: AgentEvent, prompt: str) -> None:
        """A prompt of its user starts a new count."""
        for enforced in (False, True):
            row = self._claims.row(session_id, enforced=enforced)
            if row == Row():
                continue
            if event.kind is EventKind.SETTLED and not event.subagent:
                self._claims.set_row(session_id, replace(row, is_open=False), enforced=enforced)
            elif is_new_prompt(row, event, prompt):
                self._claims.set_row(session_id, Row(), enforced=enforced)

    async def ask(
        self,
        caller: Caller,
        session_id: SessionId,
        event: AgentEvent,
        hold: Callable[[str], str],
        begun: float,
        *,
        is_reentrant: bool,
    ) -> str:
        """Whether a turn may end -> what its hook must print to hold it, "" to let it end. Raises nothing.

        `hold` makes of a reason what the hook must print; "" if this hook of this agent can hold nothing.
        `begun` is when it called, in the time of the loop: its agent waits `hook_timeout` from then on.
        `is_reentrant` is what the agent says: the turn goes on because of a hook already.
        """
        asked = _Question(caller, session_id, event, is_reentrant, hold, begun + self._patience)
        mode = self.acting_mode
        decision, output = await self._answer(asked, mode)
        self._settle(session_id, decision, mode)
        return output if mode is GateMode.ENFORCE else ""

    async def _answer(self, asked: _Question, mode: GateMode) -> tuple[Decision, str]:
        """In time, whatever fails -> the decision, and what the hook would print for it."""
        try:
            async with asyncio.timeout_at(asked.until):
                decision = await self._decide(asked)
            if isinstance(decision, Block):
                decision = self._unless_changed(decision, mode, asked.until)
            return decision, asked.hold(decision.text) if isinstance(decision, Block) else ""
        except TimeoutError:
            return _allow("late", "the answer was not found in time"), ""
        except MusterError as exc:
            return _allow("failed", str(exc)), ""
        except Exception as exc:
            logger.exception("The stop gate failed for session '%s'", asked.session_id)
            return _allow("failed", f"the stop gate failed: {type(exc).__name__}"), ""

    def _unless_changed(self, block: Block, mode: GateMode, until: float) -> Decision:
        """What an operator changed while it was written down, or a loop that stood still, comes first."""
        if asyncio.get_running_loop().time() > until:
            return _allow("late", "the answer came too late")
        if self.acting_mode is not mode or self._manager.modes.kill_switch:
            return _allow("mode", "the stop gate was switched meanwhile")
        return block

    @property
    def _patience(self) -> float:
        timeout = self._manager.config.stop_gate.hook_timeout
        return timeout - min(MARGIN, timeout / 2)

    async def _decide(self, asked: _Question) -> Decision:
        stop = self._stop(asked)
        if allow := lets_go(stop):
            return allow
        if stop.enforced:
            self._manager.roll.asks(stop.session.id)
        work = await self._work(stop.session, asked.until)
        if not await self.is_here(asked.caller):
            return _allow("late", "its hook does not wait for the answer any more")
        # Anything may have happened meanwhile: all that we know is looked up again.
        before, stop = stop, replace(self._stop(asked), work=work)
        if stop.mode is not before.mode:
            return _allow("mode", "the stop gate was switched meanwhile")
        decision = decide(stop)
        if isinstance(decision, Block):
            await self._count(stop, decision)
        return decision

    def _stop(self, asked: _Question) -> Stop:
        manager, mode = self._manager, self.acting_mode
        return Stop(
            session=manager.registry.get(asked.session_id),
            event=asked.event,
            mode=mode,
            kill_switch=manager.modes.kill_switch,
            claims=self._claims.of(asked.session_id),
            row=self._claims.row(asked.session_id, enforced=mode is GateMode.ENFORCE),
            is_reentrant=asked.is_reentrant,
            is_holdable=bool(asked.hold("why")),
            inhibitors=list(manager.inhibitors),
            tier=manager.pressure.tier,
            now=self._ports.clock.now(),
        )

    async def _work(self, session: Session, until: float) -> Work | None:
        config = self._manager.config.stop_gate
        async with self._looks[session.uid]:
            try:
                warden = await self._manager.warden_of(session.uid)
                left = until - WRITING - asyncio.get_running_loop().time()
                seconds = min(left, config.check_timeout) if config.check_command else left
                return await warden.work(session, config.check_command, seconds) if left > 0 else None
            except MusterError as exc:
                logger.info("What session '%s' has to do is not known: %s", session.id, exc)
                return None

    async def _count(self, stop: Stop, block: Block) -> None:
        """Nobody is held for what is not written down."""
        row = row_after(stop.row, block)
        if not stop.enforced:
            row = replace(row, is_open=False)
        self._claims.set_row(stop.session.id, row, enforced=stop.enforced)
        # Counted before anything is awaited: another stop may be answered meanwhile.
        await self._claims.put(*(claim.held(row, enforced=stop.enforced) for claim in block.claims))

    # What is told of it

    def _settle(self, session_id: SessionId, decision: Decision, mode: GateMode) -> None:
        session = self._manager.registry.find(session_id)
        if mode is GateMode.OFF or session is None:
            return
        enforced = mode is GateMode.ENFORCE
        verdict = _verdict(decision)
        if isinstance(decision, Allow):
            row = row_after(self._claims.row(session_id, enforced=enforced), decision)
            self._claims.set_row(session_id, row, enforced=enforced)
            verdict = "exhausted" if decision.is_exhausted else verdict
        self._ports.log.append(_record(self._ports.clock.now(), session, decision, enforced=enforced))
        self._ports.announcer.stop_evaluated(session, verdict, enforced=enforced)


def _allow(rule: str, why: str) -> Allow:
    return Allow((Reason(rule, why),))


def _verdict(decision: Decision) -> str:
    return "block" if isinstance(decision, Block) else "allow"


def _record(now: int, session: Session, decision: Decision, *, enforced: bool) -> Record:
    fields: dict[str, str | int] = {"verdict": _verdict(decision), "enforced": int(enforced)}
    name = f"session '{session.id}'"
    if isinstance(decision, Block):
        fields["claim"] = " ".join(claim.id for claim in decision.claims)
        kind, how = ("held", "is held") if enforced else ("would-hold", "would be held")
        return Record(
            now, kind, session.id, session.uid, f"{name} {how}: {'; '.join(decision.reasons)}", fields
        )
    fields["rules"] = decision.rules
    if decision.is_exhausted:
        said = f"{name} may stop though its claim is not done: {decision.text}"
        return Record(now, "let-go", session.id, session.uid, said, fields)
    return Record(now, "stop", session.id, session.uid, f"{name} may stop: {decision.text}", fields)
