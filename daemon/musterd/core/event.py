"""What an agent said of itself, whichever way: a hook, a status file, a line of its transcript."""

from dataclasses import dataclass
from enum import StrEnum

MAX_TEXT = 4096  # bytes of an id or a path, whoever says it: the agent, or a caller on the bus


class EventKind(StrEnum):
    SESSION_START = "session-start"
    TURN_START = "turn-start"  # a prompt was taken
    WORK = "work"  # something that happens only within a turn: a tool, a model call
    TURN_END = "turn-end"  # says it ended, but follow-ups may be queued: no proof
    SETTLED = "settled"  # the positive end of a turn, completed or interrupted: proof
    WAITING = "waiting"  # for a human
    ANSWERED = "answered"
    SUBAGENT_START = "subagent-start"
    SUBAGENT_END = "subagent-end"
    RECOVERY_START = "recovery-start"  # compaction, back-off, reconnect, retry
    RECOVERY_END = "recovery-end"
    SESSION_END = "session-end"
    STOP = "stop"  # asks whether the turn may end: what the stop gate answers
    NOTE = "note"  # tells nothing about work


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One utterance. `at` is realtime µs: the agent's own stamp where it gives one, else its arrival.

    ValueError if an id or a path is none: JSON can hold what neither a file name nor a bus message can.
    """

    kind: EventKind
    at: int
    agent_session_id: str = ""
    subagent: str = ""  # who speaks, if not the session itself; or who started or ended
    turn_id: str = ""
    pending: tuple[str, ...] | None = None  # background work it names; None: it did not say
    transcript: str = ""
    cwd: str = ""
    title: str = ""
    version: str = ""
    detail: str = ""  # one word for the log: the tool, the reason
    begins: bool = False  # work that is the first of its turn, where nothing tells of prompts
    is_cut: bool = False  # its user interrupted the turn, or an error of its model ended it

    def __post_init__(self) -> None:
        for name in ("agent_session_id", "subagent", "turn_id", "transcript", "cwd"):
            if not _is_text(getattr(self, name)):
                raise ValueError(f"the {name.replace('_', ' ')} is too long, or no text")
        for name in ("title", "version", "detail"):  # an agent may have cut a character in two
            if not _is_text(getattr(self, name)):
                object.__setattr__(self, name, "")


def _is_text(text: str) -> bool:
    try:
        return len(text.encode()) <= MAX_TEXT and "\0" not in text
    except UnicodeEncodeError:
        return False
