"""What one look at a session found. Whatever could not be found out is `Unknown`, with the reason."""

from dataclasses import dataclass
from enum import StrEnum

from musterd.core.session import PidRef


@dataclass(frozen=True, slots=True)
class Unknown:
    why: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The process behind the leader's pid as it is now."""

    process: PidRef
    uid: int
    executable: str
    agent_session_id: str = ""  # by the agent's own status or lock; "" where it publishes none


class NativeState(StrEnum):
    IDLE = "idle"
    BUSY = "busy"
    SHELL = "shell"  # Claude Code: a shell or background task still runs; not idle
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Native:
    """The agent's own published status."""

    state: NativeState
    agent_session_id: str = ""
    at: int = 0  # when the agent last changed it, 0 where it does not say


@dataclass(frozen=True, slots=True)
class Transcript:
    """The agent's record of the conversation, with those of further ones that its process has open."""

    device: int
    inode: int
    size: int  # of all
    mtime: int  # realtime µs, of the latest
    is_complete: bool  # it parses to its last line


@dataclass(frozen=True, slots=True)
class Screen:
    """The look of the terminal: only ever a veto."""

    digest: str
    has_dialog: bool = False
    has_draft: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """A process below the leader, or one that left its tree and still has its mark."""

    process: PidRef
    name: str  # as the kernel has it (comm)
    start_usec: int  # realtime µs
    cpu_usec: int  # that it has used so far
    is_helper: bool  # on its adapter's list of programs that sit beside an agent, idle or not


@dataclass(frozen=True, slots=True)
class Presence:
    """Who looks at the terminal. last_input is the newest key stroke, realtime µs, 0 for never."""

    attached: bool
    last_input: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What the whole tree costs."""

    memory: int = 0  # bytes resident; pages that processes share are counted for each
    private: int = 0  # bytes that ending it surely frees: resident and not shared
    cpu_usec: int = 0  # that those which run now have used so far
    tasks: int = 0  # threads


@dataclass(frozen=True, slots=True)
class Observation:
    """One look. None means that the agent has no such thing; Unknown, that it could not be read."""

    at: int
    identity: Identity | Unknown
    native: Native | Unknown | None
    transcript: Transcript | Unknown | None
    screen: Screen | Unknown | None
    children: tuple[Child, ...] | Unknown
    presence: Presence | Unknown
    worktree: str | Unknown | None = None  # uncommitted work, in a few words; "" is clean, None not asked
    usage: Usage = Usage()
    queued: int | Unknown | None = None  # inputs that it has not taken yet, on disk


@dataclass(frozen=True, slots=True)
class Work:
    """What a session has not finished, as found when its turn would end.

    `unknown` says what could not be found out, each in a few words; where it is empty, the rest is all.
    """

    children: tuple[str, ...] = ()  # names of descendants at work: no helpers, and not those that asked
    uncommitted: int | None = None  # files with changes that no commit has; None: unknown, or no repository
    check: str = ""  # why the operator's own check holds it; "" if it is content, unknown, or there is none
    unknown: tuple[str, ...] = ()
