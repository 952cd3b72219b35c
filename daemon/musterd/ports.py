"""What the manager needs of the world, as Protocols. Adapters in `host`, `bus` and `warden` fulfil them."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from musterd.agents.base import ProcessFacts
from musterd.core.event import AgentEvent
from musterd.core.evidence import Observation, Usage
from musterd.core.pressure import Reading
from musterd.core.session import Agent, PidRef, Session, SessionId, Source
from musterd.core.state import Modes


class Clock(Protocol):
    def now(self) -> int:
        """Realtime µs."""

    def stepped(self) -> int:
        """When the clock was last set, in realtime µs; 0 if it never was. Seen as a jump of realtime
        against CLOCK_BOOTTIME of more than a few seconds between two calls of `now`."""


@dataclass(frozen=True, slots=True)
class Leader:
    """A process that is, or could be, the leader of a session, and what it tells of itself.

    `launcher` is its wrapper process, where the agent has one; part of the tree, and not the leader.
    """

    process: PidRef
    facts: ProcessFacts
    agent: Agent
    launcher: PidRef | None = None
    version: str = ""
    terminal: str = ""
    agent_session_id: str = ""
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance of an agent that the warden came across, in a transcript or a status file."""

    session: SessionId
    event: AgentEvent
    source: Source


@dataclass(frozen=True, slots=True)
class Gone:
    """A leader ended. Sent once, within the same loop turn as the kernel's notice."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Appeared:
    """An agent was found that leads no watched session."""

    leader: Leader


WardenEvent = Said | Gone | Appeared


class Warden(Protocol):
    """The eyes and hands of one user: all that opens what a user controls runs as that user.

    Nothing it says is believed about another uid than its own. Every method answers within `timeout` seconds
    or raises `Failed`.
    """

    uid: int

    async def leader(self, pid: int, agent: Agent | None) -> Leader:
        """The session leader that `pid` belongs to: the nearest ancestor (or itself) that an adapter
        recognises, of that agent if one is given.

        With agent `other`, or if nothing is recognised and an agent is given, the process itself.
        Raises NoSuchSession if there is no such process (any more), AccessDenied if it is another user's.
        """

    async def lineage(self, pid: int) -> Sequence[PidRef]:
        """The process and its ancestors, nearest first, up to process 1. NoSuchSession if it is gone."""

    async def watch(self, session: Session) -> None:
        """From now on tell of its end (pidfd), its transcript (inotify) and its status file.

        Reads the tail of the transcript first. Watching again with a new value (a transcript became known)
        is cheap. Raises NoSuchSession if the leader is gone, or is another process by now.
        """

    def unwatch(self, session_id: SessionId) -> None:
        """Forget it; unknown ids are ignored."""

    def events(self) -> AsyncIterator[WardenEvent]:
        """All that watching and sweeping bring, in order; ends with the warden."""

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        """One look at each. One pass over /proc, and one client call per tmux server, for all of them."""

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        """What each tree costs now."""

    async def sweep(self) -> None:
        """Look for agents that nobody registered; each comes as `Appeared`."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a store found: what could be read, and what was moved to quarantine, with the reason."""

    sessions: Sequence[Session]
    modes: Modes
    quarantined: Mapping[str, str]


class Store(Protocol):
    """State that survives. Each write is on disk (fsync of file and directory) when the call returns.

    Writes of one file stay in order. OSError becomes `Failed`, with what to do.
    """

    async def load(self) -> Loaded: ...

    async def create(self, session: Session) -> None:
        """AlreadyRegistered if the id is taken on disk."""

    async def save(self, session: Session) -> None: ...

    async def remove(self, session_id: SessionId) -> None: ...

    async def save_modes(self, modes: Modes) -> None: ...

    async def check(self) -> None:
        """Raises Failed if the store cannot be written now: part of the watchdog's round."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the event log. `fields` is what an administrator asks next."""

    at: int
    kind: str  # registered, ended, released, state, verdict, reaped, mode, pressure, degraded, ...
    session: str = ""
    uid: int = -1
    text: str = ""
    fields: Mapping[str, str | int] = field(default_factory=dict)


class EventLog(Protocol):
    """History, bounded in age and size. Appending never blocks nor raises; `health` says if it fails."""

    def append(self, record: Record) -> None: ...

    async def recent(
        self,
        limit: int,
        *,
        uid: int | None = None,
        session: str = "",
        kinds: Collection[str] = (),
        before: int = 0,
        after: int = 0,
    ) -> Sequence[tuple[int, Record]]:
        """The latest rows with their numbers, newest first; numbers between `after` and `before`, 0: all."""

    @property
    def health(self) -> str:
        """Why it cannot be written; "" if it can."""

    async def close(self) -> None: ...


class PressureGauge(Protocol):
    """Where readings come from. Quiet while nothing happens."""

    def read(self) -> Reading: ...

    def readings(self) -> AsyncIterator[Reading]:
        """A reading now, then one whenever pressure moves; about one a second while it is not normal."""

    @property
    def health(self) -> str:
        """Why it is degraded (no PSI on this kernel, ...); "" if it is not."""


class Announcer(Protocol):
    """Tells the bus. Calls return at once; changes of one loop tick are coalesced, gauges are never told."""

    def session_new(self, session: Session) -> None: ...

    def session_changed(self, before: Session, after: Session) -> None: ...

    def session_removed(self, session: Session, reason: str) -> None: ...

    def manager_changed(self, *names: str) -> None:
        """Properties of the Manager or Reaper interface have new values."""

    def session_reaped(self, session: Session, freed: int, *, dry_run: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by what the bus says and nothing else."""

    uid: int
    pid: int
    name: str  # its unique name on the bus
    is_interactive: bool = False  # it lets polkit ask its user


class Action:
    """What takes more than owning the session: names of polkit actions."""

    SET_MODE = "org.musterd.muster1.set-mode"
    MANAGE_OTHERS = "org.musterd.muster1.manage-others"


class Authority(Protocol):
    async def allows(self, caller: Caller, action: str) -> bool:
        """Fails closed: False on a time-out, a vanished caller, or where there is no authority."""
