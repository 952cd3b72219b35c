"""A claim: the task that a session owns, who proved to own it, and how often its owner was held."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType, TypeVar

from musterd.core.errors import InvalidArgs
from musterd.core.session import PidRef, Session, SessionId
from musterd.core.spec import parsed

ClaimId = NewType("ClaimId", str)
T = TypeVar("T")

MAX_TASK = 1024  # bytes
MAX_ITEMS = 64  # of a checklist, ticked ones apart
MAX_ITEM = 512  # bytes

_FOREVER = 2**63 - 1  # µs; what TOML and SQLite hold


class Budget(StrEnum):
    """How often the owner may be held for one claim: 3, 5 or 10 times."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"

    @property
    def holds(self) -> int:
        return {Budget.SMALL: 3, Budget.MEDIUM: 5, Budget.LARGE: 10}[self]


class Phase(StrEnum):
    ACTIVE = "active"
    DONE = "done"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Owner:
    """The stamp: who claimed, as the daemon knew it then. Empty, it is nobody's, and nobody's it stays."""

    session: SessionId = field(default=SessionId(""))
    leader: PidRef | None = None
    agent_session_id: str = ""
    terminal: str = ""
    at: int = 0  # when it was stamped, realtime µs

    @classmethod
    def of(cls, session: Session, now: int) -> "Owner":
        return cls(session.id, session.leader, session.agent_session_id, session.terminal, now)


@dataclass(frozen=True, slots=True)
class Row:
    """The holds in a row for one prompt of the user."""

    holds: int = 0
    reasons: tuple[str, ...] = ()  # that were given last
    is_open: bool = False  # the last answer was a hold: the turn goes on


@dataclass(frozen=True, slots=True)
class Tally:
    """What holding cost a claim: in all, and the row of its owner when it was held last."""

    used: int = 0
    row: Row = field(default_factory=Row)


@dataclass(frozen=True, slots=True)
class Claim:
    """All times are realtime microseconds; 0 means never. Shadow and enforce count apart."""

    id: ClaimId
    uid: int
    task: str
    budget: Budget = Budget.SMALL
    deadline: int = 0
    phase: Phase = Phase.ACTIVE
    checklist: tuple[str, ...] = ()  # open items
    done: tuple[str, ...] = ()  # ticked ones
    owner: Owner = field(default_factory=Owner)
    created_usec: int = 0
    finished_usec: int = 0
    enforced: Tally = field(default_factory=Tally)
    shadowed: Tally = field(default_factory=Tally)

    @property
    def is_finished(self) -> bool:
        return self.phase is not Phase.ACTIVE

    def is_past(self, now: int) -> bool:
        return 0 < self.deadline <= now

    def is_open(self, now: int) -> bool:
        """There is still something to be done, and time to do it."""
        return not self.is_finished and not self.is_past(now)

    def tally(self, *, enforced: bool) -> Tally:
        return self.enforced if enforced else self.shadowed

    def held(self, row: Row, *, enforced: bool) -> "Claim":
        """Its owner was held once more for it."""
        tally = Tally(self.tally(enforced=enforced).used + 1, row)
        return replace(self, enforced=tally) if enforced else replace(self, shadowed=tally)


def proven(claim: Claim, session: Session, speaker: str) -> Claim | None:
    """The claim, if the conversation `speaker` of the session is proven to own it; else None.

    The stamp follows its owner in two cases only: another conversation of the same leader in the same
    terminal, and a session that musterd itself saw come back with the same conversation.
    """
    owner = claim.owner
    if not speaker or speaker != session.agent_session_id:
        return None
    if owner.session != session.id or owner.leader is None or session.leader is None:
        return None
    is_same_speaker = owner.agent_session_id == speaker
    if owner.leader.is_same(session.leader):
        if is_same_speaker:
            return claim
        is_same_terminal = bool(owner.terminal) and owner.terminal == session.terminal
        return replace(claim, owner=replace(owner, agent_session_id=speaker)) if is_same_terminal else None
    if is_same_speaker and session.resumed_usec > owner.at:
        return replace(claim, owner=Owner.of(session, session.resumed_usec))
    return None


# What a caller says of a claim: parsed once, all mistakes reported at once.


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    """Keys of Claim(). An empty session is that of the caller."""

    session: str = ""
    task: str = ""
    budget: Budget = Budget.SMALL
    deadline: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys of UpdateClaim(); None says nothing."""

    phase: Phase | None = None
    task: str | None = None
    checklist: tuple[str, ...] | None = None
    done: tuple[str, ...] = ()


def parse_claim_spec(values: Mapping[str, object], now: int) -> ClaimSpec:
    spec = ClaimSpec(**parsed(values, _SPEC_KEYS))  # type: ignore[arg-type]  # as for parse_spec()
    if not spec.task:
        raise InvalidArgs("'task' is needed: say what is to be done")
    if 0 < spec.deadline <= now:
        raise InvalidArgs("'deadline' is in the past")
    return spec


def parse_changes(values: Mapping[str, object]) -> Changes:
    return Changes(**parsed(values, _CHANGE_KEYS))  # type: ignore[arg-type]  # as above


def changed(claim: Claim, changes: Changes, now: int) -> Claim:
    """The claim after an update. InvalidArgs for what cannot be undone, or is not on the list."""
    if claim.is_finished and changes.phase not in (None, claim.phase):
        raise InvalidArgs(f"Claim '{claim.id}' is {claim.phase}, and stays so; claim anew.")
    checklist = claim.checklist if changes.checklist is None else changes.checklist
    if unknown := [item for item in changes.done if item not in (*checklist, *claim.done)]:
        raise InvalidArgs(f"'{unknown[0][:64]}' is not on the checklist of claim '{claim.id}'.")
    ticked = tuple(item for item in dict.fromkeys(changes.done) if item not in claim.done)
    phase = changes.phase or claim.phase
    return replace(
        claim,
        task=changes.task or claim.task,
        phase=phase,
        checklist=tuple(item for item in dict.fromkeys(checklist) if item not in changes.done),
        done=(*claim.done, *ticked)[-MAX_ITEMS:],
        finished_usec=claim.finished_usec or (0 if phase is Phase.ACTIVE else now),
    )


def _line(limit: int) -> Callable[[object], str]:
    """One line of text for people and agents: control characters would forge others."""

    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("is not a string")
        if len(value.encode("utf-8", "surrogatepass")) > limit:
            raise ValueError(f"is longer than {limit} bytes")
        line = " ".join("".join(char if char.isprintable() else " " for char in value).split())
        if not line:
            raise ValueError("is empty")
        return line

    return parse


def _items(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("is not a list of strings")
    if len(value) > MAX_ITEMS:
        raise ValueError(f"has more than {MAX_ITEMS} items")
    return tuple(map(_line(MAX_ITEM), value))


def _one_of(kind: Callable[[str], T], words: Sequence[str]) -> Callable[[object], T]:
    def parse(value: object) -> T:
        if isinstance(value, str) and value in words:
            return kind(value)
        raise ValueError(f"is none of {', '.join(words)}")

    return parse


def _time(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _FOREVER:
        raise ValueError("is not a time in microseconds")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a string")
    return value


_SPEC_KEYS: dict[str, Callable[[object], object]] = {
    "session": _name,
    "task": _line(MAX_TASK),
    "budget": _one_of(Budget, [*Budget]),
    "deadline": _time,
}
_CHANGE_KEYS: dict[str, Callable[[object], object]] = {
    "phase": _one_of(Phase, [*Phase]),
    "task": _line(MAX_TASK),
    "checklist": _items,
    "done": _items,
}


def new_claim_id() -> ClaimId:
    return ClaimId("c" + secrets.token_hex(4))
