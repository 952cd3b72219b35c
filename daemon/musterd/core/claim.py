"""A claim: the task that a session owns, who proved to own it, and how often its owner was held."""

import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from musterd.core.session import PidRef, Session, SessionId

ClaimId = NewType("ClaimId", str)


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


def new_claim_id() -> ClaimId:
    return ClaimId("c" + secrets.token_hex(4))
