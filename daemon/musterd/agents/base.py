"""What musterd must know of an agent program, and the answers for one it knows nothing of.

An adapter is pure: it is handed facts, texts and records, and says what they mean. It reads no file and no
clock. Each names the versions its facts were checked with; outside of them a session is only observed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from musterd.core.event import AgentEvent
from musterd.core.evidence import Native
from musterd.core.session import Agent, Session

from .flags import Flags
from .hooks import CommandHooks, Extension, Installed

Version = tuple[int, ...]
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process as /proc shows it (proc(5)). Texts are lossy UTF-8; what could not be read is empty."""

    pid: int
    ppid: int
    uid: int
    start_ticks: int
    start_usec: int  # realtime µs
    executable: str  # /proc/PID/exe, without " (deleted)"
    comm: str
    argv: tuple[str, ...]
    cwd: str
    environ: Mapping[str, str]  # only names that some adapter asked for (`Adapter.environ`)
    tty: int = 0  # device number of the controlling terminal, 0 for none


class Role(Enum):
    LEADER = auto()  # holds the session; its end is the session's end
    LAUNCHER = auto()  # a wrapper around the leader: part of the tree, never its own session


@dataclass(frozen=True, slots=True)
class ScreenReading:
    """What stands on a screen. Only ever a veto: a screen that looks idle proves nothing."""

    has_dialog: bool
    has_draft: bool
    is_readable: bool = True  # a dialog or a composer is seen: without either, a draft may be anywhere


UNREADABLE = ScreenReading(has_dialog=False, has_draft=False, is_readable=False)


@dataclass(frozen=True, slots=True)
class Records:
    """What new lines of a transcript said, oldest first, and whether the last one parsed."""

    events: tuple[AgentEvent, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A transcript that is an SQLite database: rows of one column, a JSON text each, oldest first."""

    database: str  # absolute path
    sql: str  # SELECT ... with named parameters
    parameters: Mapping[str, str]

    @property
    def files(self) -> tuple[str, str]:
        """What changes when a row does: the database, or its write-ahead log (sqlite.org/wal.html)."""
        return self.database, f"{self.database}-wal"


class Adapter:
    """An agent program that is only observed. Real ones override what they know.

    `agent`       its name on the bus
    `versions`    first and last version (inclusive prefix) that the facts were checked with; None: never
                  eligible
    `opens`       files, relative to HOME, that the program opens when it starts: the event that makes
                  musterd look for new processes
    `comms`       names that the kernel has for its processes (comm, proc_pid_comm(5)): no proof, but reason
                  enough to look closer at what their user runs
    `environ`     names of environment variables that tell of it (in its own process or in its children)
    `marks`       names of variables that its tools inherit: the value is its agent session id or, where the
                  name ends with PID, its leader's process; finds tools that left the process tree
    `stop_is_end` a stop that was allowed is the positive end of the turn: nothing else will say so
    `leaves_on`   name of the signal by which it is asked to leave: it decides within, and may stay. Sent
                  only to a process that has a handler for it
    `placeholder` what its composer shows while it is empty
    `resume`      the words in front of an agent session id that bring that conversation back
    `flags`       which options of its command line are repeated then
    `hooks`       where its hooks are installed, and for which events
    `doubted_by`  files beside them that can keep it from running them
    """

    agent: ClassVar[Agent] = Agent.OTHER
    versions: ClassVar[tuple[Version, Version] | None] = None
    opens: ClassVar[tuple[str, ...]] = ()
    comms: ClassVar[tuple[str, ...]] = ()
    environ: ClassVar[tuple[str, ...]] = ()
    marks: ClassVar[tuple[str, ...]] = ()
    stop_is_end: ClassVar[bool] = False
    leaves_on: ClassVar[str] = ""
    placeholder: ClassVar[str] = ""
    resume: ClassVar[tuple[str, ...]] = ()
    flags: ClassVar[Flags] = Flags()
    hooks: ClassVar[CommandHooks | Extension | None] = None
    doubted_by: ClassVar[tuple[str, ...]] = ()

    # Recognising

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        """Whether this process is one of ours. Never by name alone: image, script, environment."""
        return None

    def package_files(self, process: ProcessFacts) -> tuple[str, ...]:
        """Absolute paths of files whose text `version` can read, best first."""
        return ()

    def version(self, text: str) -> str:
        """The version from the text of one of `package_files`; ValueError if it has none."""
        raise ValueError(f"no version in {text[:40]!r}")

    def unsupported(self, version: str) -> str:
        """Why idleness cannot be proven; "" if it can."""
        if self.versions is None:
            return f"{self.agent} cannot prove that it is idle"
        first, last = self.versions
        if not version:
            return f"the version of {self.agent} is not known"
        if not first <= parse_version(version) <= (*last, *_ANY_PATCH):
            checked = f"{_dotted(first)} to {_dotted(last)}"
            return f"{self.agent} {version} is outside the versions checked, {checked}"
        return ""

    def is_helper(self, process: ProcessFacts) -> bool:
        """Whether a descendant is furniture (MCP or language server) rather than work."""
        return False

    # Reading

    def hook_event(self, event: str, payload: Json, at: int) -> AgentEvent:
        """One hook call: the event's name, its JSON, its arrival in µs. ValueError if unusable."""
        raise ValueError(f"{self.agent} has no hooks that musterd knows")

    def nothing_to_say(self, event: str) -> str:
        """What a hook must print, verbatim, when musterd has nothing to say to that event."""
        return ""

    def block(self, event: str, reason: str) -> str:
        """What a hook must print, verbatim, to hold the turn; "" if this agent cannot be held."""
        return ""

    def hooks_doubt(self, hooks: Sequence[Installed], file: str, settings: Mapping[str, Json]) -> str:
        """Why it would not run these hooks of ours, which `file` (an absolute path) has; "" if it would.

        `settings` has what the files in `doubted_by` say, of those that are there.
        """
        return ""

    def transcript(self, session: Session, home: str, environ: Mapping[str, str]) -> str | Query | None:
        """Where the conversation is recorded: a path, a glob that fits one file only, or a query."""
        return session.transcript or None

    def records(self, lines: Sequence[str]) -> Records:
        """Parse whole lines (or rows). Lines it cannot read make it incomplete if they are the last."""
        return Records((), is_complete=False)

    def queue(self, session: Session, home: str, environ: Mapping[str, str]) -> Query | None:
        """Where the inputs are that it has not taken yet, one row each; None if it keeps none on disk."""
        return None

    def open_session(self, paths: Sequence[str], locked: Sequence[str]) -> str:
        """The agent session id from files that the leader has open, or has locked; "" if untold."""
        return ""

    def open_transcripts(self, paths: Sequence[str], locked: Sequence[str]) -> Mapping[str, str]:
        """The records of all conversations that the leader has open, by agent session id: of its subagents,
        too. "" stands for one that is not open itself."""
        return {}

    def status_file(self, session: Session, home: str, environ: Mapping[str, str]) -> str:
        """Path of the agent's own status file; "" if it has none."""
        return ""

    def status(self, text: str, process: ProcessFacts) -> Native:
        """Read the status file. ValueError if it is not about this process or makes no sense."""
        raise ValueError("no status file is known")

    def screen(self, text: str) -> ScreenReading:
        """Read the visible screen, as plain text. Only for vetoes."""
        return ScreenReading(has_dialog=False, has_draft=False)

    # Ending and resuming

    def quit_keys(self, session: Session) -> tuple[str, ...]:
        """What a user types into an empty composer to leave, as send-keys takes it; () for SIGTERM."""
        return ()

    def resume_command(self, session: Session) -> tuple[str, ...]:
        """The argument list that brings its conversation back, in its directory; () if nothing does."""
        if not self.resume or not _PLAIN_ID.fullmatch(session.agent_session_id):
            return ()
        return (*self.resume, session.agent_session_id, *self.flags.kept(session.command))


# An id is what the agent says it is: it must not turn into an option, a path or a pattern.
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{,127}")

_ANY_PATCH = (10**9,)


def parse_version(text: str) -> Version:
    """The leading numbers of a version: "1.5.2-beta" is (1, 5, 2), and no number at all is ()."""
    numbers = []
    for part in text.lstrip("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
