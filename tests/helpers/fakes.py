"""Ports that write down what they were told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from helpers.builders import BOOT, MINUTE, NOW, look
from musterd.agents.base import Adapter, Json, ProcessFacts
from musterd.claiming import Claiming
from musterd.core.claim import Claim, ClaimId
from musterd.core.config import Config
from musterd.core.errors import AccessDenied, AlreadyRegistered, Failed, NoSuchSession
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Identity, Observation, Transcript, Usage, Work
from musterd.core.inhibitor import Inhibitor
from musterd.core.pressure import PressureSource, Reading
from musterd.core.session import Agent, PidRef, Session, SessionId
from musterd.core.state import ClockMark, Modes
from musterd.core.suspend import Suspend
from musterd.ender import Ender
from musterd.gatekeeper import Gatekeeper
from musterd.hooks import Hooks
from musterd.inhibiting import Inhibiting
from musterd.judge import Judge
from musterd.manager import Manager
from musterd.ports import Caller, Grant, Loaded, Pipe, Ports, Record
from musterd.reaping import Reaper
from musterd.remote import RemoteSessions
from musterd.reviver import Reviver
from musterd.warden_port import Appeared, Ending, Gone, Leader, Leftover, WardenEvent

OURS = 90  # pid of the daemon
ALICE = Caller(1000, 50, ":1.1")
BOB = Caller(1001, 60, ":1.2")
ROOT = Caller(0, 70, ":1.3")


class FakeClock:
    def __init__(self) -> None:
        self.time = NOW
        self.set_at = 0
        self.slept: list[Suspend] = []

    def now(self) -> int:
        return self.time

    def set(self, step: int) -> None:
        self.time += step
        self.set_at = self.time

    def pass_by(self, duration: int) -> None:
        self.time += duration

    def suspend(self, duration: int) -> None:
        self.slept.append(Suspend(self.time, self.time + duration))
        self.time += duration

    def stepped(self) -> int:
        return self.set_at

    def twice(self) -> tuple[int, int]:
        return (0, 0)

    def suspends(self) -> tuple[Suspend, ...]:
        return tuple(self.slept)

    def mark(self) -> ClockMark:
        return ClockMark()

    def recall(self, mark: ClockMark) -> None:
        pass


class FakeAgent(Adapter):
    """Events are kinds; the version in its process is always right."""

    agent = Agent.CODEX
    versions = ((0,), (9,))

    def hook_event(self, event: str, payload: Json, at: int) -> AgentEvent:
        return AgentEvent(EventKind(event), at, agent_session_id=str(payload.get("id", "")))

    def nothing_to_say(self, event: str) -> str:
        return "{}"

    def block(self, event: str, reason: str) -> str:
        return json.dumps({"decision": "block", "reason": reason})

    def resume_command(self, session: Session) -> tuple[str, ...]:
        return ("codex", "resume", session.agent_session_id) if session.agent_session_id else ()


def leader(pid: int, agent: Agent = Agent.CODEX, uid: int = 1000) -> Leader:
    facts = ProcessFacts(
        pid, 1, uid, pid, NOW - 90 * MINUTE, "/opt/codex", "codex", ("codex",), f"/work/{pid}", {}
    )
    return Leader(PidRef(pid, pid, BOOT, pid), facts, agent, version="1.0")


class FakeWarden:
    """Processes are numbers: `parents` says which belongs to which leader."""

    def __init__(self, uid: int = 1000) -> None:
        self.uid = uid
        self.leaders: dict[int, Leader] = {}
        self.parents: dict[int, int] = {}
        self.by_hand: set[int] = set()  # processes that no adapter recognises
        self.told: list[str] = []
        self.watched: dict[SessionId, Session] = {}  # as it was told of each last
        self.queue: asyncio.Queue[WardenEvent | None] = asyncio.Queue()  # None: it is gone
        self.looks: dict[SessionId, Observation] = {}
        self.failure: Exception | None = None
        self.ending = Ending(is_ended=True, how="SIGTERM", freed=200)
        self.left: list[Leftover] = []
        self.unreclaimable: Exception | None = None
        self.reclaimable: dict[SessionId, int] = {}  # bytes, once
        self.unfinished: dict[SessionId, Work] = {}
        self.patience: list[float] = []  # seconds that each look for work had
        self.unasked: Exception | None = None  # what asking for work meets
        self.before_work: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        self.before_watch: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        self.before_end: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)

    def start(self, *pids: int) -> None:
        self.leaders.update({pid: leader(pid, uid=self.uid) for pid in pids})

    async def leader(self, pid: int, agent: Agent | None) -> Leader:
        pid = self.parents.get(pid, pid)
        if pid not in self.leaders or (agent is None and pid in self.by_hand):
            raise NoSuchSession(f"There is no process {pid}.")
        if self.leaders[pid].facts.uid != self.uid:
            raise AccessDenied("another user's")
        found = self.leaders[pid]
        return replace(found, agent=agent) if agent and pid in self.by_hand else found

    async def lineage(self, pid: int) -> Sequence[PidRef]:
        return [found.process for p in (pid, self.parents.get(pid)) if p and (found := self.leaders.get(p))]

    async def watch(self, session: Session) -> None:
        await self.before_watch()
        if self.failure:
            raise self.failure
        if session.leader and session.leader.pid not in self.leaders:
            raise NoSuchSession("it is gone")
        self.told.append(f"watch {session.id}")
        self.watched[session.id] = session

    def unwatch(self, session_id: SessionId) -> None:
        self.told.append(f"unwatch {session_id}")

    async def events(self) -> AsyncIterator[WardenEvent]:
        while (event := await self.queue.get()) is not None:
            yield event
            self.queue.task_done()

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        if self.failure:
            raise self.failure
        return {session.id: self.looks.get(session.id, _idle(session)) for session in sessions}

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        return {session.id: Usage(memory=7) for session in sessions}

    async def work(self, session: Session, check_command: Sequence[str], seconds: float) -> Work:
        self.told.append(" ".join(["work", session.id, *check_command]))
        self.patience.append(seconds)
        await self.before_work()
        if failure := self.failure or self.unasked:
            raise failure
        return self.unfinished.get(session.id, Work())

    def forget(self, process: PidRef) -> None:
        self.told.append(f"forget {process.pid}")

    async def sweep(self) -> None:
        self.told.append("sweep")

    async def end(self, session: Session, last_look: Observation | None) -> Ending:
        self.told.append(f"end {session.id}")
        await self.before_end()
        if self.failure:
            raise self.failure
        if self.ending.is_ended and session.leader:
            self.leaders.pop(session.leader.pid, None)
            self.queue.put_nowait(Gone(session.id))
        return self.ending

    async def reclaim(self, session: Session) -> int:
        self.told.append(f"reclaim {session.id}")
        if failure := self.failure or self.unreclaimable:
            raise failure
        return self.reclaimable.pop(session.id, 0)

    async def leftovers(self, sessions: Sequence[Session]) -> Sequence[Leftover]:
        return self.left

    async def end_leftovers(self, leftovers: Sequence[Leftover]) -> Ending:
        self.told.append(f"end {len(leftovers)} leftovers")
        self.left = []
        return Ending(is_ended=True, how="SIGTERM", freed=5)

    async def resume(self, session: Session) -> None:
        self.told.append(f"resume {session.id}")
        if self.failure:
            raise self.failure
        self.start(900)
        self.leaders[900] = replace(self.leaders[900], mark=session.id)
        self.queue.put_nowait(Appeared(self.leaders[900]))

    async def close(self) -> None:
        self.told.append("close")


class FakeWardens:
    """`here` are those that are there; `arrive` lets one come, or come again."""

    def __init__(self, *wardens: FakeWarden) -> None:
        self.here = {warden.uid: warden for warden in wardens}
        self.asked: list[int] = []  # whose were asked for while they were not there
        self.arrived: asyncio.Queue[FakeWarden] = asyncio.Queue()
        for warden in wardens:
            self.arrived.put_nowait(warden)

    def arrive(self, warden: FakeWarden) -> None:
        self.here[warden.uid] = warden
        self.arrived.put_nowait(warden)

    def lose(self, warden: FakeWarden) -> None:
        del self.here[warden.uid]
        warden.queue.put_nowait(None)

    def find(self, uid: int) -> FakeWarden | None:
        return self.here.get(uid)

    async def get(self, uid: int) -> FakeWarden:
        if uid not in self.here:
            self.asked.append(uid)
            raise Failed(f"There is no warden of user {uid}.")
        return self.here[uid]

    async def arrivals(self) -> AsyncIterator[FakeWarden]:
        while True:
            yield await self.arrived.get()


def _idle(session: Session) -> Observation:
    assert session.leader
    return look(
        identity=Identity(session.leader, session.uid, session.executable, session.agent_session_id),
        transcript=Transcript(1, 2, 3000, session.turn.settled, is_complete=True),
    )


@dataclass
class FakeStore:
    files: dict[str, Session] = field(default_factory=dict)
    modes: Modes = field(default_factory=Modes)
    quarantined: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    before_claim: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
    before_modes: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
    failure: Exception | None = None
    remove_failure: Exception | None = None
    queue: asyncio.Lock = field(default_factory=asyncio.Lock)
    written: list[SessionId] = field(default_factory=list)  # also again and again

    async def load(self) -> Loaded:
        return Loaded(list(self.files.values()), self.modes, self.quarantined, list(self.claims.values()))

    async def create(self, session: Session) -> None:
        async with self.queue:
            if session.id in self.files:
                raise AlreadyRegistered(f"The id '{session.id}' is taken.")
            await self._write(session)

    async def save(self, session: Session) -> None:
        async with self.queue:
            await self._write(session)

    async def _write(self, session: Session) -> None:
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        self.files[session.id] = session
        self.written.append(session.id)

    async def remove(self, *session_ids: SessionId) -> None:
        await asyncio.sleep(0)
        if self.remove_failure:
            raise self.remove_failure
        for session_id in session_ids:
            self.files.pop(session_id, None)

    async def create_claim(self, claim: Claim) -> None:
        await self.save_claim(claim)

    async def save_claim(self, claim: Claim) -> None:
        await self.before_claim()
        if self.failure:
            raise self.failure
        self.claims[claim.id] = claim

    async def remove_claim(self, claim_id: ClaimId) -> None:
        if self.remove_failure:
            raise self.remove_failure
        self.claims.pop(claim_id, None)

    async def create_pipe(self, inhibitor: Inhibitor) -> Pipe:
        raise Failed(f"There is no pipe for '{inhibitor.number}' here.")

    async def remove_pipe(self, number: int) -> None: ...

    async def save_modes(self, modes: Modes) -> None:
        await self.before_modes()
        if self.failure:
            raise self.failure
        self.modes = modes

    async def check(self) -> None:
        if self.failure:
            raise self.failure


class FakeLog:
    health = ""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, record: Record) -> None:
        self.records.append(record)

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
        rows = [
            row
            for row in enumerate(self.records, start=1)
            if session in ("", row[1].session) and (not kinds or row[1].kind in kinds)
        ]
        return rows[::-1][:limit]

    async def close(self) -> None: ...

    def kinds(self) -> list[str]:
        return [record.kind for record in self.records]


class FakeAnnouncer:
    def __init__(self) -> None:
        self.told: list[str] = []

    def session_new(self, session: Session) -> None:
        self.told.append(f"new {session.id}")

    def session_changed(self, before: Session, after: Session) -> None:
        if before.state is not after.state:
            self.told.append(f"{before.state} {after.state}")

    def session_removed(self, session: Session, reason: str) -> None:
        self.told.append(f"removed {session.id} {reason}")

    def manager_changed(self, *names: str) -> None:
        self.told.append(" ".join(names))

    def claims_changed(self, session: Session, claims: Sequence[str]) -> None:
        self.told.append(f"claims {len(claims)}")

    def gate_changed(self, *names: str) -> None:
        self.told.append("gate " + " ".join(names))

    def stop_evaluated(self, session: Session, verdict: str, *, enforced: bool) -> None:
        self.told.append(f"stop {session.id} {verdict} {enforced}")

    def prepare_for_reap(self, session: Session, deadline: int) -> None:
        self.told.append(f"prepare {session.id}")

    def reap_cancelled(self, session: Session, gate: str) -> None:
        self.told.append(f"cancelled {session.id} {gate}")

    def session_reaped(self, session: Session, freed: int, *, dry_run: bool) -> None:
        self.told.append(f"reaped {session.id} {freed} {dry_run}")


class FakeGauge:
    health = ""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Reading] = asyncio.Queue()
        self.pressed = 0.0

    def read(self) -> Reading:
        return Reading(NOW, PressureSource.PSI, 0, self.pressed, 900, 1000)

    def press(self, full: float) -> None:
        self.queue.put_nowait(replace(self.read(), full_avg10=full))

    async def readings(self) -> AsyncIterator[Reading]:
        while True:
            yield await self.queue.get()


class FakeAuthority:
    def __init__(self, *operators: int) -> None:
        self.operators = operators

    async def check(self, caller: Caller, action: str) -> Grant:
        await asyncio.sleep(0)
        return Grant.YES if caller.uid in (0, *self.operators) else Grant.NO


class Bench:
    """A manager on fakes, with alice's and bob's wardens; or a later one, where `past` was killed."""

    def __init__(
        self, config: Config | None = None, *, operators: Sequence[int] = (), past: "Bench | None" = None
    ) -> None:
        self.alice: FakeWarden = past.alice if past else FakeWarden(1000)
        self.bob: FakeWarden = past.bob if past else FakeWarden(1001)
        self.wardens = FakeWardens(self.alice, self.bob)
        self.store: FakeStore = past.store if past else FakeStore()
        self.log = FakeLog()
        self.announcer = FakeAnnouncer()
        self.clock: FakeClock = past.clock if past else FakeClock()
        self.gauge = FakeGauge()
        self.adapters: dict[Agent, FakeAgent] = {agent: FakeAgent() for agent in Agent}
        ports = Ports(
            self.wardens,
            self.store,
            self.log,
            self.announcer,
            FakeAuthority(*operators),
            self.clock,
            self.gauge,
            self.adapters,
            BOOT,
            OURS,
        )
        self.manager = Manager(config or Config(), ports)
        self.remote = RemoteSessions(self.manager)
        self.ender = Ender(self.manager)
        self.reviver = Reviver(self.manager)
        self.judge = Judge(self.manager)
        self.reaper = Reaper(self.manager, self.judge, self.ender)
        self.gatekeeper = Gatekeeper(self.manager, _always)
        self.hooks = Hooks(self.manager, self.gatekeeper)
        self.claiming = Claiming(self.manager)
        self.inhibiting = Inhibiting(self.manager)


async def _always(_: Caller) -> bool:
    return True


DISK_FULL = Failed("The disk is full.")


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    """Its manager serves, until the block ends."""
    task = asyncio.create_task(bench.manager.run())
    try:
        yield bench
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
