"""The stop gate's judgement: a turn may end, unless the proven owner of an unfinished claim ends it.

Each rule is a reason to allow, and all are asked. Whatever is missing, late, or raises allows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from musterd.core.claim import Claim, Row, proven
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Work
from musterd.core.inhibitor import Inhibitor, letting_stop
from musterd.core.pressure import Tier
from musterd.core.session import Session, State
from musterd.core.unfinished import why_not

# For one prompt of the user. Agents that count at all overrule their hooks at 8.
IN_A_ROW = 5

HEAD = "musterd: this turn should not end yet"


class GateMode(StrEnum):
    OFF = "off"
    SHADOW = "shadow"  # evaluates and writes history, always allows
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Stop:
    """All that the answer to one stop rests on."""

    session: Session
    event: AgentEvent
    mode: GateMode = GateMode.ENFORCE
    kill_switch: bool = False
    claims: Sequence[Claim] = ()  # of the session, finished ones, too
    row: Row = field(default_factory=Row)
    is_reentrant: bool = False  # the agent says that this turn goes on because of a hook
    is_holdable: bool = True  # this agent can be told to go on
    inhibitors: Sequence[Inhibitor] = ()
    tier: Tier = Tier.NORMAL
    work: Work | None = None  # None: not asked for, or not known in time
    now: int = 0

    @property
    def enforced(self) -> bool:
        return self.mode is GateMode.ENFORCE

    @property
    def owned(self) -> list[Claim]:
        """The claims that this very conversation is proven to own, with the stamp as it is now."""
        found = (proven(claim, self.session, self.event.agent_session_id) for claim in self.claims)
        return [claim for claim in found if claim]

    @property
    def unfinished(self) -> list[Claim]:
        return [claim for claim in self.owned if not claim.is_finished]

    @property
    def in_time(self) -> list[Claim]:
        return [claim for claim in self.unfinished if not claim.is_past(self.now)]

    @property
    def holding(self) -> list[Claim]:
        """Those with some of their budget left."""
        return [c for c in self.in_time if c.tally(enforced=self.enforced).used < c.budget.holds]


@dataclass(frozen=True, slots=True)
class Reason:
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Allow:
    reasons: tuple[Reason, ...]  # every rule that lets it go

    @property
    def is_exhausted(self) -> bool:
        """Only because it was held as often as it may be: the task is not done, and that is announced."""
        return all(reason.rule in _EXHAUSTED for reason in self.reasons)

    @property
    def rules(self) -> str:
        return ", ".join(reason.rule for reason in self.reasons)

    @property
    def text(self) -> str:
        return "; ".join(reason.text for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Block:
    claims: tuple[Claim, ...]
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """For the agent to read."""
        name = self.claims[0].id if len(self.claims) == 1 else "CLAIM"
        lines = "".join(f"\n- {reason}" for reason in self.reasons)
        return (
            f"{HEAD}:{lines}\n\nGo on with it. When it is done: musterctl claim done {name}; "
            f"if it cannot be done: musterctl claim abandon {name}."
        )


Decision = Allow | Block


def decide(stop: Stop) -> Decision:
    """All rules, then all reasons. A stop whose `work` is not known yet is allowed by `facts`."""
    if reasons := _asked(stop, (*_OWN_RULES, *_WORK_RULES)):
        return Allow(reasons)
    claims = stop.holding
    return Block(tuple(claims), why_not(claims, stop.work))


def lets_go(stop: Stop) -> Allow | None:
    """What the daemon knows by itself: where that allows, nobody has to look for work."""
    reasons = _asked(stop, _OWN_RULES)
    return Allow(reasons) if reasons else None


def _asked(stop: Stop, rules: Sequence[tuple[str, Callable[[Stop], str]]]) -> tuple[Reason, ...]:
    return tuple(Reason(name, text) for name, rule in rules if (text := _ask(rule, stop)))


def _ask(rule: Callable[[Stop], str], stop: Stop) -> str:
    try:
        return rule(stop)
    except Exception as exc:  # noqa: BLE001 - a rule that breaks must allow, whatever broke it
        return f"a rule failed: {type(exc).__name__}"


def row_after(row: Row, decision: Decision) -> Row:
    """The row of holds once this is answered."""
    if isinstance(decision, Block):
        return Row(row.holds + 1, decision.reasons, is_open=True)
    return Row(row.holds, row.reasons, is_open=False)


def is_new_prompt(row: Row, event: AgentEvent, prompt: str) -> bool:
    """Whether the start of a turn is its user's prompt, and not our own words given back.

    An agent that does not hand on the prompt is believed only if the turn before had ended.
    """
    if event.subagent or not (event.begins or event.kind is EventKind.TURN_START):
        return False
    return HEAD not in prompt if prompt else not row.is_open


# Rules: why the turn may end, in a few words; "" where it says nothing


def _mode(stop: Stop) -> str:
    return "the stop gate is off" if stop.mode is GateMode.OFF else ""


def _kill_switch(stop: Stop) -> str:
    return "the kill switch is on" if stop.kill_switch else ""


def _no_stop(stop: Stop) -> str:
    return "" if stop.event.kind is EventKind.STOP else f"'{stop.event.kind}' asks nothing"


def _subagent(stop: Stop) -> str:
    return "a subagent of it stops" if stop.event.subagent else ""


def _unknown(stop: Stop) -> str:
    said, known = stop.event.agent_session_id, stop.session.agent_session_id
    if not said:
        return "the agent does not say which session stops"
    return "" if said == known else f"'{said[:64]}' is not the conversation of this session"


def _holdable(stop: Stop) -> str:
    return "" if stop.is_holdable else f"{stop.session.agent} cannot be held"


def _no_claim(stop: Stop) -> str:
    return "" if stop.claims else "it has claimed nothing"


def _not_owner(stop: Stop) -> str:
    return "it is not proven to own a claim" if stop.claims and not stop.owned else ""


def _finished(stop: Stop) -> str:
    return "its claims are finished" if stop.owned and not stop.unfinished else ""


def _deadline(stop: Stop) -> str:
    return "the deadline of its claims is past" if stop.unfinished and not stop.in_time else ""


def _budget(stop: Stop) -> str:
    if not stop.in_time or stop.holding:
        return ""
    return f"the budget of {max(claim.budget.holds for claim in stop.in_time)} holds is used up"


def _reentrant(stop: Stop) -> str:
    if stop.is_reentrant and stop.row.holds >= IN_A_ROW:
        return "it goes on because of a hook already, as often as it may for one prompt"
    return ""


def _in_a_row(stop: Stop) -> str:
    return f"it was held {stop.row.holds} times for one prompt" if stop.row.holds >= IN_A_ROW else ""


def _cut(stop: Stop) -> str:
    turn = stop.session.turn
    if stop.event.is_cut or (turn.cut and turn.cut >= turn.started):
        return "its user interrupted it, or its model could not be reached"
    return ""


def _waiting(stop: Stop) -> str:
    return "it waits for its user" if stop.session.turn.waiting else ""


def _recovery(stop: Stop) -> str:
    return "a compaction or retry is in flight" if stop.session.turn.recovering else ""


def _ending(stop: Stop) -> str:
    is_ending = stop.session.ending or stop.session.state in (State.STOPPING, State.ENDED)
    return "an end of the session is under way" if is_ending else ""


def _pressure(stop: Stop) -> str:
    return "memory pressure is critical" if stop.tier is Tier.CRITICAL else ""


def _inhibited(stop: Stop) -> str:
    held = letting_stop(stop.inhibitors, stop.session)
    return f"inhibited by '{held[0].who}': {held[0].why}" if held else ""


def _facts(stop: Stop) -> str:
    if stop.work is None:
        return "what work there is was not known in time"
    return f"not known in time: {', '.join(stop.work.unknown)}" if stop.work.unknown else ""


def _same_reasons(stop: Stop) -> str:
    is_same = stop.row.holds and why_not(stop.holding, stop.work) == stop.row.reasons
    return "it was told the same reasons just before" if is_same else ""


_OWN_RULES: tuple[tuple[str, Callable[[Stop], str]], ...] = (
    ("mode", _mode),
    ("kill-switch", _kill_switch),
    ("no-stop", _no_stop),
    ("subagent", _subagent),
    ("unknown", _unknown),
    ("agent", _holdable),
    ("no-claim", _no_claim),
    ("not-owner", _not_owner),
    ("finished", _finished),
    ("deadline", _deadline),
    ("budget", _budget),
    ("re-entrant", _reentrant),
    ("in-a-row", _in_a_row),
    ("interrupt", _cut),
    ("waiting", _waiting),
    ("recovery", _recovery),
    ("ending", _ending),
    ("pressure", _pressure),
    ("inhibited", _inhibited),
)
_WORK_RULES: tuple[tuple[str, Callable[[Stop], str]], ...] = (
    ("facts", _facts),
    ("same-reasons", _same_reasons),
)
_EXHAUSTED = ("budget", "re-entrant", "in-a-row", "same-reasons")
