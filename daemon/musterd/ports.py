"""What the manager needs of the world, as Protocols that `host` and `bus` fulfil. Wardens: `warden_port`."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from musterd.agents.base import Adapter
from musterd.core.claim import Claim, ClaimId
from musterd.core.inhibitor import Inhibitor
from musterd.core.pressure import Reading
from musterd.core.session import Agent, Session, SessionId
from musterd.core.state import ClockMark, Modes
from musterd.core.suspend import Suspend
from musterd.warden_port import Wardens


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
class Loaded:
    """What a store found: what could be read, and what was moved to quarantine, with the reason."""

    sessions: Sequence[Session]
    modes: Modes
    quarantined: Mapping[str, str]
    claims: Sequence[Claim] = field(default_factory=list)
    held: Sequence[tuple[Inhibitor, int]] = field(default_factory=list)  # with our ends of their pipes


class Pipe(NamedTuple):
    """The ends of a pipe, as fds."""

    read: int
    write: int


class Store(Protocol):
    """State that survives. Each write is on disk (fsync of file and directory) when the call returns.

    Writes of one file stay in order. OSError becomes `Failed`, with what to do.
    """

    async def load(self) -> Loaded: ...

    async def create(self, session: Session) -> None:
        """AlreadyRegistered if the id is taken on disk."""

    async def save(self, session: Session) -> None: ...

    async def remove(self, *session_ids: SessionId) -> None:
        """All of them at the price of one."""

    async def create_claim(self, claim: Claim) -> None:
        """AlreadyRegistered if the id is taken on disk."""

    async def save_claim(self, claim: Claim) -> None: ...

    async def remove_claim(self, claim_id: ClaimId) -> None: ...

    async def create_pipe(self, inhibitor: Inhibitor) -> Pipe:
        """What it hangs on, and goes on to do after a restart of ours; the caller owns both ends."""

    async def remove_pipe(self, number: int) -> None: ...

    async def save_modes(self, modes: Modes) -> None: ...

    async def check(self) -> None:
        """Raises Failed if the store cannot be written now: part of the watchdog's round."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the event log. `fields` is what an administrator asks next."""

    at: int  # realtime µs
    kind: str  # what happened, in a word; those that the journal's catalog explains are in host/journal.py
    session: str = ""
    uid: int = -1  # -1: it is about no user
    text: str = ""  # what happened; then, behind "; ", each reason
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

    def session_new(self, session: Session) -> None:
        """On the roll: for the first time, or again."""

    def session_changed(self, before: Session, after: Session) -> None: ...

    def session_removed(self, session: Session, reason: str) -> None:
        """Off the roll; `reason` as Session.ended_reason."""

    def manager_changed(self, *names: str) -> None:
        """Properties of the Manager or Reaper interface have new values."""

    def claims_changed(self, session: Session, claims: Sequence[str]) -> None:
        """Ids of those that are not finished."""

    def gate_changed(self, *names: str) -> None:
        """Properties of the StopGate interface have new values."""

    def stop_evaluated(self, session: Session, verdict: str, *, enforced: bool) -> None:
        """`verdict` is allow, block, or exhausted: allowed, since it was held as often as it may be."""

    def prepare_for_reap(self, session: Session, deadline: int) -> None:
        """It is ended after `deadline`, realtime µs, unless something keeps it."""

    def reap_cancelled(self, session: Session, gate: str) -> None:
        """After `prepare_for_reap`; `gate` is what keeps it."""

    def session_reaped(self, session: Session, freed: int, *, dry_run: bool) -> None:
        """Or, in a dry run, would be; `freed` in bytes."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by what the bus says and nothing else."""

    uid: int
    pid: int
    name: str  # its unique name on the bus
    is_interactive: bool = False  # it lets polkit ask its user

    def owns(self, uid: int) -> bool:
        """Whether what belongs to that user is its own; to root everything is."""
        return self.uid in (0, uid)


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
