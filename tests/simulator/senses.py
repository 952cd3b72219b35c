"""What reaches musterd of a life: words (late, lost, twice), files, looks; and what it remembers of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from musterd.agents.fields import ordered
from musterd.core.case import Case, Explanation, Mode, World
from musterd.core.config import ReaperConfig
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import (
    Child,
    Identity,
    Native,
    NativeState,
    Observation,
    Presence,
    Screen,
    Transcript,
    Unknown,
)
from musterd.core.inhibitor import Inhibitor, What
from musterd.core.inhibitor import Mode as InhibitMode
from musterd.core.life import heard, is_worth_saving
from musterd.core.pressure import Tier
from musterd.core.reaper import explain
from musterd.core.session import Agent, PidRef, Session, SessionId, Source
from musterd.core.state import format_session, parse_session
from musterd.core.suspend import awake
from musterd.host.clock import HostClock

from .nature import SECOND, Kind, Nature, Program

BOOT = "11111111-2222-3333-4444-555555555555"
EPOCH = 1_800_000_000 * SECOND  # realtime at boot
TICK = 10_000  # µs: start times of processes are whole clock ticks
TAIL = 40  # records of a transcript that are read again after a restart
LOOK_LIFE = 10  # graces
GRACE = 30 * SECOND
HOOK_TAKES = 30_000  # µs at the most, where nothing is wrong

AGENTS = {
    Kind.CODEX: Agent.CODEX,
    Kind.PI: Agent.PI,
    Kind.GEMINI: Agent.GEMINI,
    Kind.OPENCODE: Agent.OPENCODE,
    Kind.NATIVE: Agent.CLAUDE_CODE,
}

K = EventKind


@dataclass(slots=True)
class Clock:
    """True time, what the machine's clocks make of it, and what is still to come."""

    true: int = 100 * SECOND
    asleep: int = 0  # true time spent in suspends
    offset: int = EPOCH

    @property
    def real(self) -> int:
        return self.true + self.offset

    @property
    def awake(self) -> int:
        return self.true - self.asleep

    @property
    def readings(self) -> tuple[Callable[[], int], Callable[[], int], Callable[[], int]]:
        return lambda: self.real * 1000, lambda: self.true * 1000, lambda: self.awake * 1000


@dataclass(slots=True)
class Record:
    """The transcript of one conversation."""

    inode: int
    events: list[AgentEvent] = field(default_factory=list)
    size: int = 0
    mtime: int = 0
    is_torn: bool = False


@dataclass(slots=True)
class Eyes:
    """What disturbs the view at the moment."""

    screen_unreadable: bool = False
    spinner: bool = False  # or a clock in the status line
    native_torn: bool = False


class Daemon:
    """musterd as far as it matters here: the roll's entry of one session, its copy on disk, its looks."""

    def __init__(
        self,
        rng: Random,
        clock: Clock,
        nature: Nature,
        config: ReaperConfig,
        later: Callable[[int, Callable[[], None]], None],
    ) -> None:
        self.is_up = False
        self.session: Session
        self._rng = rng
        self._clock = clock
        self._nature = nature
        self._config = config
        self.later = later
        self._saved: Session
        self._looks: list[Observation] = []
        self._times = HostClock(*clock.readings)
        self._mark = self._times.mark()
        self._stepped = 0
        self._read = 0  # records of the transcript so far
        self._following = ""  # the conversation whose transcript is read
        self._native: Native | Unknown | None = None
        self.records: dict[str, Record] = {}
        self.status = Native(NativeState.IDLE, "t1", 0)
        self.eyes = Eyes()
        self.painted = 0

    # Its roll

    def enrol(self) -> None:
        kind, now = self._nature.kind, self._clock.real
        self.session = self._saved = Session(
            id=SessionId("abcdef"),
            agent=AGENTS[kind],
            uid=1000,
            leader=PidRef(4711, self._nature.born // TICK, BOOT, 99),
            cwd="/srv/work",
            agent_session_id="t1" if kind is Kind.CODEX or kind is Kind.NATIVE else "",
            resume_command=("resume", "t1"),
            version="1",
            executable="/opt/agent",
            started_usec=self._nature.born // TICK * TICK + self._clock.offset,
            created_usec=now,
        )
        self._following, self.is_up = self.session.agent_session_id, True
        self.read_files()

    def hear(self, event: AgentEvent, source: Source) -> None:
        if not self.is_up:
            return
        self._times.now()
        before = self.session
        after = heard(before, event, source)
        if after.agent_session_id and not after.resume_command:
            after = replace(after, resume_command=("resume", after.agent_session_id))
        self.session = after
        if is_worth_saving(before, after):
            self._saved = after
        if after.agent_session_id != self._following:
            self._following, self._read = after.agent_session_id, 0
            self.read_files()

    def read_files(self) -> None:
        """What inotify, or a look, makes it read."""
        if not self.is_up:
            return
        record = self.records.get(self._following)
        while record and self._following in self.records and self._read < len(record.events):
            following, event = self._following, record.events[self._read]
            self._read += 1
            self.hear(event, Source.TRANSCRIPT)
            if self._following != following:
                return
        self._read_status()

    def _read_status(self) -> None:
        if self._nature.kind is not Kind.NATIVE:
            return
        before = self._native
        self._native = self._seen_status()
        if self._native is None or isinstance(self._native, Unknown) or self._native == before:
            return
        says = {NativeState.IDLE: K.SETTLED, NativeState.WAITING: K.WAITING}
        kind = says.get(self._native.state, K.WORK)
        self.hear(AgentEvent(kind, self._native.at, self._native.agent_session_id), Source.NATIVE)

    def _seen_status(self) -> Native | Unknown | None:
        if self._nature.kind is not Kind.NATIVE:
            return None
        return Unknown("torn") if self.eyes.native_torn else self.status

    def stop(self) -> None:
        """In order, or by a crash: then the mark is that of its start."""
        self.is_up = False
        if self._rng.random() < 0.5:
            self._mark = self._times.mark()

    def start(self) -> None:
        """As the process before it left the disk: it knows no look."""
        if self._rng.random() < 0.02:  # slow, and always the same
            assert parse_session(format_session(self._saved)) == self._saved
        self.is_up = True
        self.session = self._saved
        self._looks, self._native = [], None
        self._times = HostClock(*self._clock.readings)
        self._times.recall(self._mark)
        self._mark = self._times.mark()
        self._following = self.session.agent_session_id
        record = self.records.get(self._following)
        self._read = max(len(record.events) - TAIL, 0) if record else 0
        self.read_files()

    # Its looks

    def look(self) -> Observation:
        self._times.now()
        if self._rng.random() < 0.5:
            self.read_files()
        else:  # it is read, but the manager has not heard it yet
            self.later(0, self.read_files)
        if self._times.stepped() != self._stepped:
            self._stepped, self._looks = self._times.stepped(), []
        self._looks.append(self._observe())
        self._looks = self._looks[-8:]
        return self._looks[-1]

    def _observe(self) -> Observation:
        nature, now = self._nature, self._clock.real
        return Observation(
            at=now,
            identity=self._identity(),
            native=self._seen_status(),
            transcript=self._transcript(),
            screen=self._screen(),
            children=tuple(self._child(program) for program in nature.programs),
            presence=Presence(nature.is_attached, max(nature.typed + self._typed_offset, 0)),
        )

    _typed_offset = EPOCH

    def typed(self) -> None:
        """The tty keeps the time that the clock showed at the key stroke."""
        self._typed_offset = self._clock.offset

    def _identity(self) -> Identity:
        leader = self.session.leader
        assert leader
        if self._nature.is_somebody_else:
            leader = replace(leader, start_ticks=leader.start_ticks + 5000, inode=123)
        tells = self._nature.kind in (Kind.CODEX, Kind.NATIVE)
        return Identity(leader, 1000, "/opt/agent", f"t{self._nature.conversation}" if tells else "")

    def _transcript(self) -> Transcript | Unknown:
        record = self.records.get(self._following)
        if record is None:
            return Unknown("not there")
        return Transcript(1, record.inode, record.size, record.mtime, is_complete=not record.is_torn)

    def _screen(self) -> Screen | Unknown:
        if self.eyes.screen_unreadable:
            return Unknown("tmux does not answer")
        nature = self._nature
        ticks = self._clock.true if self.eyes.spinner else 0
        return Screen(f"{self.painted} {ticks}", nature.is_asking, nature.has_draft and not nature.is_asking)

    def _child(self, program: Program) -> Child:
        ticks = program.started // TICK
        return Child(
            PidRef(program.pid, ticks, BOOT),
            "node",
            ticks * TICK + self._clock.offset,  # of the clock as it is set now
            program.used(self._clock.awake),
            program.is_known_helper,
        )

    def judge(self, tier: Tier) -> Explanation:
        look, nature, now = self.look(), self._nature, self._clock.real
        suspends = self._times.suspends()
        past = [p for p in self._looks[:-1] if GRACE <= awake(p.at, look.at, suspends) < LOOK_LIFE * GRACE]
        held = Inhibitor(1, frozenset({What.REAP}), "vim", "editing", InhibitMode.BLOCK, 1000, 1, "")
        session = replace(self.session, protected=nature.is_pinned)
        case = Case(
            session=session,
            look=look,
            earlier=past[-1] if past else None,
            inhibitors=[held] if nature.is_inhibited else [],
            twins=[SessionId("twin")] if nature.has_twin else [],
            config=self._config,
            tier=tier,
            now=now,
            clock_stepped=self._times.stepped(),
            clock_twice=self._times.twice(),
            suspends=suspends,
        )
        return explain(case, World(Mode.ON, tier))


@dataclass(slots=True)
class Voice:
    """The agent's words on their way: hooks arrive by themselves, files are read soon after a change."""

    rng: Random
    clock: Clock
    nature: Nature
    daemon: Daemon
    later: Callable[[int, Callable[[], None]], None]
    wait: Callable[[int], None]
    has_hooks: bool = True
    is_unreliable: bool = False  # hooks of this life may come late, twice or never
    lost: bool = False  # something of the present turn did not arrive as it was said
    flaws: set[str] = field(default_factory=set)  # healed by the next turn that is told well

    def hook(
        self,
        kind: EventKind,
        *,
        subagent: str = "",
        pending: tuple[str, ...] | None = None,
        is_awaited: bool = True,
    ) -> None:
        """Say it, now. The agent waits for its hook, unless something else of it runs beside it."""
        nature = self.nature
        is_stamped = nature.kind in (Kind.PI, Kind.GEMINI, Kind.OPENCODE)
        said = AgentEvent(
            kind,
            ordered(kind, self.clock.real // 1000 * 1000) if is_stamped else 0,
            f"t{nature.conversation}",
            subagent=subagent,
            turn_id=f"turn {nature.turns}" if nature.kind is Kind.CODEX and not subagent else "",
            pending=pending,
        )
        for delay in self._delays():
            is_late = delay > HOOK_TAKES
            self.later(delay, partial(self._arrive, said, is_late=is_late))
        if is_awaited:
            self.wait(HOOK_TAKES)

    def _delays(self) -> list[int]:
        if not self.has_hooks:
            self.lost = True
            return []
        if not self.is_unreliable:
            return [self.rng.randrange(1000, HOOK_TAKES)]
        chance = self.rng.random()
        if chance < 0.05:
            self.lost = True
            return []
        delays = [self.rng.randrange(1000, HOOK_TAKES)]
        if chance < 0.15:
            self.lost = True
            delays = [self.rng.randrange(SECOND, 60 * SECOND)]
        if chance > 0.95:
            self.lost = True
            delays.append(self.rng.randrange(SECOND, 60 * SECOND))
        return delays

    def _arrive(self, said: AgentEvent, *, is_late: bool) -> None:
        if is_late:
            self.lost = True
            self.flaws.add("words were late")
        if not self.daemon.is_up:
            self.lost = True
            return
        self.daemon.hear(said if said.at else replace(said, at=self.clock.real), Source.HOOK)

    def write(self, kind: EventKind = K.NOTE, *, torn: bool = False) -> None:
        """Into its transcript."""
        now = self.clock.real // 1000 * 1000
        name = f"t{self.nature.conversation}"
        record = self.daemon.records.setdefault(name, Record(self.nature.conversation))
        turn = f"turn {self.nature.turns}" if self.nature.kind is Kind.CODEX else ""
        record.size += self.rng.randrange(50, 5000)
        record.mtime, record.is_torn = self.clock.real, torn
        if not torn and kind is not K.NOTE:
            has_id = kind in (K.TURN_START, K.SETTLED)
            record.events.append(AgentEvent(kind, ordered(kind, now), turn_id=turn if has_id else ""))
        self.later(100_000, self.daemon.read_files)

    def show(self, state: NativeState) -> None:
        """In its status file."""
        if self.nature.kind is Kind.NATIVE and state is not self.daemon.status.state:
            self.daemon.status = Native(state, f"t{self.nature.conversation}", self.clock.real)
            self.later(100_000, self.daemon.read_files)
