"""What the manager needs of the world, as Protocols. Adapters in `host`, `bus` and `warden` fulfil them."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from musterd.agents.base import Adapter, ProcessFacts
from musterd.core.claim import Claim, ClaimId
from musterd.core.event import AgentEvent
from musterd.core.evidence import Observation, Usage, Work
from musterd.core.pressure import Reading
from musterd.core.session import Agent, PidRef, Session, SessionId, Source
from musterd.core.state import ClockMark, Modes
from musterd.core.suspend import Suspend


class Clock(Protocol):
    def now(self) -> int:
        """Realtime µs."""

    def stepped(self) -> int:
        """When the clock was last set, in realtime µs; 0 if it never was. Seen as a jump of realtime
        against CLOCK_BOOTTIME of more than a second between two calls of `now`."""

    def twice(self) -> tuple[int, int]:
        """The first and the last moment, realtime µs, that it may have shown twice, being set back; 0 and 0
        if it never was. Nobody can tell which of two stamps from between was made first."""

    def suspends(self) -> Sequence[Suspend]:
        """Of this boot, in order; those shorter than a second are not told of. They are noticed at the next
        call of anything here: what happened since its end may be dated within one."""

    def mark(self) -> ClockMark:
        """For the next process of this boot: what it is told by `recall` counts as seen by itself."""

    def recall(self, mark: ClockMark) -> None:
        """Once, before anything else is asked. A mark of another boot says nothing."""


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
    scope: str = ""  # systemd unit that was made for it
    agent_session_id: str = ""
    transcript: str = ""
    environ: tuple[str, ...] = ()  # as in Session: what starting it again takes
    mark: str = (
        ""  # id of the session that it was started to bring back (MUSTERD_SESSION in its environment)
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How an end of a session went. `left` are processes of its tree that are still there."""

    is_ended: bool  # the leader is gone, and nothing of its tree is left
    how: str  # "by itself", "/quit", "SIGTERM", ..., or "kept: REASON" where it was not ended
    freed: int = 0  # bytes that its tree had for itself before, and has no more
    left: tuple[str, ...] = ()  # "name (pid): why"

    @property
    def was_kept(self) -> bool:
        """Something changed at the last moment, and nothing was sent."""
        return self.how.startswith("kept")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that demonstrably belongs to a session whose leader is gone."""

    session: SessionId
    process: PidRef
    name: str
    memory: int  # bytes


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

    async def work(self, session: Session, check_command: Sequence[str], seconds: float) -> Work:
        """What it has not finished: children, uncommitted work, and what the operator's check says.

        All of it in so many seconds, and nothing that was started for it is left then. The check is run in
        the session's directory as its user, with who is checked in MUSTERD_CHECK_SESSION, _AGENT and
        _AGENT_SESSION. Exit status 0: content. 1: not, and its output says why. All else is unknown.
        """

    async def sweep(self) -> None:
        """Look for agents that nobody registered; each comes as `Appeared`, once."""

    def forget(self, process: PidRef) -> None:
        """It was not taken: tell of it again at the next sweep."""

    async def end(self, session: Session, last_look: Observation | None) -> Ending:
        """End it the way its adapter says, then with SIGTERM, then with SIGKILL, the whole tree; verified.

        With a `last_look`, nothing is sent unless all is as it was then: transcript, children, screen. The
        pane it ran in stays, and says what happened and how to resume. May take half a minute. Raises
        NoSuchSession if the leader is gone already.
        """

    async def reclaim(self, session: Session) -> int:
        """Have the kernel write out and drop what memory it can, and end nothing -> bytes that came back.

        0 where there is nothing to be had: no scope that holds this session and nobody else, or no control
        of its memory (cgroup v2, `memory.reclaim`).
        """

    async def leftovers(self, sessions: Sequence[Session]) -> Sequence[Leftover]:
        """What is left of ended sessions: by their own scope, or by environment mark and start time."""

    async def end_leftovers(self, leftovers: Sequence[Leftover]) -> Ending: ...

    async def resume(self, session: Session) -> None:
        """Start its resume command in its directory: in its pane if that waits, else in a new window.

        What is started carries MUSTERD_SESSION with its id, and is told of as `Appeared`. Raises
        NotResumable if its directory or program is gone, Failed if there is no terminal to be had.
        """

    async def close(self) -> None: ...


class Wardens(Protocol):
    """One warden a user. In single-user mode there is one in all; the system service has them started."""

    def find(self, uid: int) -> Warden | None:
        """The one that is there now."""

    async def get(self, uid: int) -> Warden:
        """The one that is there, or is started now. Raises Failed, soon, while none can be had."""

    def arrivals(self) -> AsyncIterator[Warden]:
        """Each warden from its coming on. One that comes in another's place watches nothing yet."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a store found: what could be read, and what was moved to quarantine, with the reason."""

    sessions: Sequence[Session]
    modes: Modes
    quarantined: Mapping[str, str]
    claims: Sequence[Claim] = field(default_factory=list)


class Store(Protocol):
    """State that survives. Each write is on disk (fsync of file and directory) when the call returns.

    Writes of one file stay in order. OSError becomes `Failed`, with what to do.
    """

    async def load(self) -> Loaded: ...

    async def create(self, session: Session) -> None:
        """AlreadyRegistered if the id is taken on disk."""

    async def save(self, session: Session) -> None: ...

    async def remove(self, session_id: SessionId) -> None: ...

    async def create_claim(self, claim: Claim) -> None:
        """AlreadyRegistered if the id is taken on disk."""

    async def save_claim(self, claim: Claim) -> None: ...

    async def remove_claim(self, claim_id: ClaimId) -> None: ...

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

    def claims_changed(self, session: Session, claims: Sequence[str]) -> None:
        """Ids of those that are not finished."""

    def gate_changed(self, *names: str) -> None:
        """Properties of the StopGate interface have new values."""

    def stop_evaluated(self, session: Session, verdict: str, *, enforced: bool) -> None: ...

    def prepare_for_reap(self, session: Session, deadline: int) -> None: ...

    def reap_cancelled(self, session: Session, gate: str) -> None: ...

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


class Grant(StrEnum):
    """What the authority says; all but YES is no."""

    YES = "yes"
    NO = "no"
    CHALLENGE = "challenge"  # it would ask for a password, which the caller does not let it
    SILENCE = "silence"  # it did not answer in time, or there is none


class Authority(Protocol):
    async def check(self, caller: Caller, action: str) -> Grant:
        """May take as long as somebody needs to type a password, where the caller is interactive."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The adapters that the manager works through."""

    wardens: Wardens
    store: Store
    log: EventLog
    announcer: Announcer
    authority: Authority
    clock: Clock
    gauge: PressureGauge
    adapters: Mapping[Agent, Adapter]
    boot_id: str  # of the machine, now; as in PidRef
    pid: int  # our own
