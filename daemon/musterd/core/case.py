"""What a verdict rests on, and what it is: the types that the gates and the reaper share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from musterd.core.config import ReaperConfig
from musterd.core.evidence import Observation
from musterd.core.inhibitor import Inhibitor
from musterd.core.pressure import Tier
from musterd.core.session import Session, SessionId
from musterd.core.suspend import Suspend, awake, elapsed


class Mode(StrEnum):
    OFF = "off"
    DRY_RUN = "dry-run"
    ON = "on"


class Outcome(StrEnum):
    PASS = "pass"
    KEEP = "keep"
    UNKNOWN = "unknown"  # keeps, too


class Verdict(StrEnum):
    KEEP = "keep"  # a gate about the session itself holds it
    ELIGIBLE = "eligible"  # only the state of the machine holds it
    REAP = "reap"


class Finding(NamedTuple):  # made in thousands: a look at 1,000 sessions has 21,000 of them
    """What one gate answers, why, and when its evidence was made (realtime µs, 0: just now)."""

    outcome: Outcome
    evidence: str
    at: int = 0


class Gate(NamedTuple):
    name: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Explanation:
    session: SessionId
    verdict: Verdict
    kept_by: str  # "" when nothing does
    gates: tuple[Gate, ...]

    @property
    def reason(self) -> str:
        return next((g.finding.evidence for g in self.gates if g.name == self.kept_by), "every gate passes")


@dataclass(frozen=True, slots=True)
class World:
    """The state of the machine and of the reaper itself."""

    mode: Mode
    tier: Tier
    acted: tuple[int, ...] = ()  # how long ago it reaped (or would have), as `elapsed` counts, the past hour


@dataclass(frozen=True, slots=True)
class Case:
    """All that the verdict on one session rests on."""

    session: Session
    look: Observation
    earlier: Observation | None = None  # the look before, by this daemon process, at least one grace ago
    inhibitors: Sequence[Inhibitor] = ()
    claims: Sequence[str] = ()  # open ones
    twins: Sequence[SessionId] = ()  # other live sessions with the same agent session id
    refused: int = 0  # when a reap of it was last cancelled, or failed
    unsupported: str = ""  # why its agent's idleness cannot be proven
    is_ours: bool = False  # the daemon's own session
    config: ReaperConfig = field(default_factory=ReaperConfig)
    tier: Tier = Tier.NORMAL
    now: int = 0
    clock_stepped: int = 0  # the clock was set then: no earlier time stamp can be compared with now
    clock_twice: tuple[int, int] = (0, 0)  # it was set back: stamps from between these have no order
    suspends: Sequence[Suspend] = ()

    def awake(self, since: int) -> int:
        """µs from then to now, while something could happen."""
        return awake(since, self.now, self.suspends)

    def elapsed(self, at: int) -> int:
        """µs since the reaper did something, as far as that could have had an effect."""
        return elapsed(at, self.now, self.clock_stepped, self.suspends)
