"""The hidden truth of one life: what an agent, its programs and its user really do.

Nothing here knows what musterd thinks: a session works or is needed because the story says so. Time is true
time in µs since boot; what clocks show of it, and what of all this can be seen, is the business of `senses`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


class Kind(StrEnum):
    """How an agent tells of itself."""

    CODEX = "codex"  # its record of the conversation is proof and numbers the turns; hooks have no stamps
    PI = "pi"  # hooks are proof, and stamped; the record cannot tell an end from a pause
    GEMINI = "gemini"  # hooks prove completed turns, the record proves interrupted ones
    OPENCODE = "opencode"  # hooks are proof, stamped, and tell of questions and subagents
    NATIVE = "native"  # publishes a status file; its stops name background work


@dataclass(slots=True)
class Program:
    """One process below the agent."""

    pid: int
    started: int
    works: bool  # it does something that somebody waits for
    is_known_helper: bool = False  # its name tells what it is
    rate: float = 0.0  # of one core
    cpu: float = 0.0  # µs used until `counted`
    counted: int = 0  # on the clock that stands still in a suspend

    def run(self, awake: int, rate: float) -> None:
        self.cpu += (awake - self.counted) * self.rate
        self.counted, self.rate = awake, rate

    def used(self, awake: int) -> int:
        return int(self.cpu + (awake - self.counted) * self.rate)


@dataclass(slots=True)
class Nature:
    kind: Kind
    born: int
    turn: int = 0  # the number of the open turn; 0 for none
    turns: int = 0
    is_asking: bool = False
    is_compacting: bool = False
    subagents: set[str] = field(default_factory=set)
    has_queued: bool = False
    has_draft: bool = False
    programs: list[Program] = field(default_factory=list)
    is_attached: bool = False
    typed: int = -HOUR  # true time of the latest key stroke
    typed_awake: int = -HOUR  # by the clock that stands still in a suspend
    conversation: int = 1
    has_twin: bool = False
    is_pinned: bool = False
    is_inhibited: bool = False
    is_somebody_else: bool = False  # the agent is gone, and its pid is another program's
    stirred: int = 0  # true time of the latest thing that happened in it

    def needed(self, awake: int, min_age: int, recent_user: int) -> str:
        """Why it must not be ended; "" if nobody would miss it. The two numbers are the user's wish.

        They are about time awake: in a suspend nobody could do anything. None was before it was born.
        """
        reasons = (
            (self.is_somebody_else, "the process is another one"),
            (self.turn, "a turn is open"),
            (self.is_asking, "it asks"),
            (self.is_compacting, "it compacts"),
            (self.subagents, "a subagent works"),
            (self.has_queued, "input is queued"),
            (self.has_draft, "text is typed but not sent"),
            (any(program.works for program in self.programs), "a program of it works"),
            (self.is_attached and awake - self.typed_awake < recent_user, "somebody uses it"),
            (awake - self.born < min_age, "it is young"),
            (self.has_twin, "its conversation is open elsewhere, too"),
            (self.is_pinned, "it is pinned"),
            (self.is_inhibited, "somebody holds it"),
        )
        return next((reason for holds, reason in reasons if holds), "")
