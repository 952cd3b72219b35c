"""A session: one agent program at work for one user, and what is known of it."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from musterd.core.turn import Turn

SessionId = NewType("SessionId", str)

SESSION_MARK = "MUSTERD_SESSION"  # in the environment of what brings a session back: its id


class Agent(StrEnum):
    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    GEMINI = "gemini"
    PI = "pi"
    OPENCODE = "opencode"
    AIDER = "aider"
    OTHER = "other"  # a program somebody registered by hand; never eligible


class State(StrEnum):
    STARTING = "starting"  # seen, but it has not said anything yet
    IDLE = "idle"
    BUSY = "busy"
    WAITING = "waiting"  # for a human: a permission, a question, a form
    STOPPING = "stopping"  # an end of it is under way
    ENDED = "ended"
    FAILED = "failed"  # an end of it was tried, and its leader is still there
    OFFLINE = "offline"  # on another host, and not heard of for a while

    @property
    def is_current(self) -> bool:
        return self is not State.ENDED


class Source(StrEnum):
    """Who said what a session is doing."""

    HOOK = "hook"
    NATIVE = "native"  # the agent's own status file or lock
    TRANSCRIPT = "transcript"
    PROCESS = "process"  # the kernel
    CALLER = "caller"  # whoever registered it, or ordered something
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PidRef:
    """One process, for ever: a pid alone may mean another process a second later.

    start_ticks: field 22 of /proc/PID/stat (proc_pid_stat(5)), clock ticks after boot
    boot_id:     /proc/sys/kernel/random/boot_id
    inode:       of its pidfd, unique per boot on pidfs (Linux 6.9); 0 where the kernel has none
    """

    pid: int
    start_ticks: int
    boot_id: str
    inode: int = 0

    def is_same(self, other: "PidRef") -> bool:
        if (self.boot_id, self.pid, self.start_ticks) != (other.boot_id, other.pid, other.start_ticks):
            return False
        return self.inode == other.inode or 0 in (self.inode, other.inode)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One that the process of a session holds beside that which the session is named by."""

    id: str
    turn: Turn


@dataclass(frozen=True, slots=True)
class Session:
    """All times are realtime microseconds; 0 means never."""

    id: SessionId
    agent: Agent
    uid: int
    leader: PidRef | None  # None: on another host, where only heartbeats tell of it
    cwd: str = ""
    host: str = ""  # "" is this machine
    agent_session_id: str = ""
    transcript: str = ""
    terminal: str = ""  # tmux:SOCKET:PANE or a tty
    command: tuple[str, ...] = ()
    resume_command: tuple[str, ...] = ()
    environ: tuple[str, ...] = ()  # NAME=VALUE, of where it finds programs and its files; never a secret
    title: str = ""
    labels: tuple[str, ...] = ()
    scope: str = ""  # systemd unit that it has for itself, or had before it ended
    version: str = ""  # of the agent program
    executable: str = ""
    started_usec: int = 0  # the leader's start
    created_usec: int = 0  # on the roll since
    resumed_usec: int = 0
    resumes: tuple[int, ...] = ()  # when it was brought back, the past day
    ending: str = ""  # why an end of it is under way: what it ended of, if the daemon is gone meanwhile
    heartbeat_usec: int = 0
    hooked_usec: int = 0  # a hook of it was last heard
    state: State = State.STARTING
    state_source: Source = Source.NONE  # of the last it said; see `told_by`
    turn: Turn = field(default_factory=Turn)
    others: tuple[Conversation, ...] = ()  # further conversations of its process, at work or at rest
    protected: bool = False
    ended_usec: int = 0
    ended_reason: str = ""
    last_error: str = ""

    @property
    def is_current(self) -> bool:
        return self.state.is_current

    @property
    def told_by(self) -> Source:
        """Who said what its state is. That an end is under way, or failed, is no word of its own."""
        return Source.CALLER if self.state in (State.STOPPING, State.FAILED) else self.state_source

    @property
    def is_resumable(self) -> bool:
        return bool(self.resume_command)

    @property
    def last_activity_usec(self) -> int:
        words = [conversation.turn.last_word for conversation in self.others]
        return max(self.turn.last_word, self.created_usec, *words)

    @property
    def idle_since_usec(self) -> int:
        return self.turn.ended if self.state is State.IDLE else 0

    def ended(self, reason: str, now: int) -> "Session":
        return replace(
            self, state=State.ENDED, state_source=Source.PROCESS, ended_usec=now, ended_reason=reason
        )
