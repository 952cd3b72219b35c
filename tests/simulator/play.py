"""One randomised life of a session, judged at random moments under pressure."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from musterd.core.case import Verdict
from musterd.core.config import ReaperConfig
from musterd.core.event import EventKind as K
from musterd.core.evidence import NativeState
from musterd.core.pressure import Tier

from .nature import HOUR, MINUTE, SECOND, Kind, Nature, Program
from .senses import GRACE, Clock, Daemon, Voice

CONFIG = ReaperConfig()
MIN_AGE, RECENT_USER = 10 * MINUTE, 15 * MINUTE  # of the user, in CONFIG
ASKED = {Tier.ELEVATED: 30 * MINUTE, Tier.CRITICAL: 10 * MINUTE}
FARTHEST_LOOKS = 2 * MINUTE
SLACK = MINUTE  # quiet is counted from the last word of anything, which may be a little later than the deed


class WrongEnd(AssertionError):
    """It was to be ended while it worked, or somebody needed it."""


@dataclass(slots=True)
class Count:
    lives: int = 0
    judged: int = 0
    needed: Counter[str] = field(default_factory=Counter)  # why, of those that were judged
    idle: int = 0  # long enough, and left alone
    eligible: int = 0  # of those
    complete: int = 0  # idle, and all that can be known arrived
    kept: Counter[str] = field(default_factory=Counter)  # idle ones, by flaw and gate
    complete_but_kept: list[str] = field(default_factory=list)  # the stories of those that should not be


class Life:
    def __init__(self, seed: int, counted: Count) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.count = counted
        self.clock = Clock()
        self.clock.true += rng.randrange(HOUR)
        self.nature = Nature(rng.choice(list(Kind)), born=self.clock.true)
        self.daemon = Daemon(rng, self.clock, self.nature, CONFIG, self.later)
        self.voice = Voice(rng, self.clock, self.nature, self.daemon, self.later, self.wait)
        self.story: list[str] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._pids = count(5000)
        self._flaws: set[str] = set()  # what is wrong with the evidence at the moment
        self._turn_flaws = self.voice.flaws
        self._turn_flaws.add("no turn has ended yet")
        self._deeds = 0

    # Time

    def later(self, delay: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.clock.true + delay, next(self._numbers), what))

    def wait(self, duration: int) -> None:
        """Let time pass, and what is due in it happen; perhaps under the eyes of the reaper."""
        if duration > 2 * MINUTE and self.rng.random() < 0.5:
            self.later(self.rng.randrange(duration), self._first_look)
        end = self.clock.true + duration
        while self._heap and self._heap[0][0] <= end:
            self.clock.true, _, what = heapq.heappop(self._heap)
            what()
        self.clock.true = end

    def while_(self) -> None:
        """From a moment to hours, all orders of magnitude alike."""
        self.wait(int(SECOND * 10 ** self.rng.uniform(-0.5, 4.0)))

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def tell(self, deed: str) -> None:
        self.story.append(f"{self.clock.true / SECOND:9.1f} {deed}")
        self.nature.stirred = self.clock.true
        self._deeds += 1

    @property
    def _who(self) -> str:
        return f"life {self.seed} of {self.nature.kind}"

    @property
    def _told(self) -> str:
        return "\n".join(
            (*self.story, f"{self.clock.true / SECOND:9.1f} judged: {self.daemon.session.turn}")
        )

    # Looks

    def _first_look(self) -> None:
        if self.daemon.is_up:
            self.daemon.look()
            self.later(self.rng.randrange(GRACE, FARTHEST_LOOKS), self._judge)

    def _judge(self) -> None:
        if not self.daemon.is_up:
            return
        tier = self.rng.choice((Tier.ELEVATED, Tier.CRITICAL))
        said = self.daemon.judge(tier)
        needed = self.nature.needed(self.clock.awake, MIN_AGE, RECENT_USER)
        self.count.judged += 1
        if needed:
            self.count.needed[needed] += 1
            if said.verdict is Verdict.REAP:
                raise WrongEnd(f"{self._who}: {needed}\n{self._told}")
        elif self.clock.true - self.nature.stirred > ASKED[tier] + SLACK:
            self._count_idle(said.verdict, said.kept_by)

    def _count_idle(self, verdict: Verdict, kept_by: str) -> None:
        flaws = self._flaws | self._turn_flaws
        self.count.idle += 1
        self.count.eligible += verdict is Verdict.REAP
        self.count.complete += not flaws
        if verdict is Verdict.REAP:
            return
        self.count.kept[f"{kept_by}: {', '.join(sorted(flaws))}"] += 1
        if not flaws:
            self.count.complete_but_kept.append(f"{self._who}: kept by {kept_by}\n{self._told}")

    # The story

    def play(self) -> None:
        self._begin()
        acts = (
            (8, self._turn), (3, self._rest), (1, self._compact), (1, self._clear), (2, self._user),
            (1, self._draft), (1.5, self._set_clock), (1, self._suspend), (1.5, self._restart),
            (0.5, self._wish), (1, self._trouble), (0.3, self._replace), (0.7, self._helper_works),
            (0.3, self._twin),
        )  # fmt: skip
        weights, deeds = [weight for weight, _ in acts], [deed for _, deed in acts]
        for deed in self.rng.choices(deeds, weights, k=self.rng.randrange(2, 14)):
            deed()
            self.while_()
        self._rest()
        self.count.lives += 1

    def _begin(self) -> None:
        rng = self.rng
        self.tell(f"{self.nature.kind} starts")
        self.voice.is_unreliable = self.chance(0.3)
        self.voice.has_hooks = not self.chance(0.1)
        if self.chance(0.05):
            self.daemon.eyes.screen_unreadable = True
            self._flaws.add("no screen")
        for _ in range(rng.choice((0, 0, 1, 3))):
            self.wait(rng.randrange(3 * SECOND))
            self._start(works=False, is_known_helper=self.chance(0.6))
        if self.chance(0.2):  # musterd comes, or finds it, later
            self.wait(rng.randrange(10 * SECOND, HOUR))
        self.daemon.enrol()
        self.tell("is enrolled")
        self.wait(2 * SECOND)
        self._note_strangers()
        self.voice.hook(K.SESSION_START)
        if self.nature.kind is not Kind.CODEX:
            self.voice.write()
        self.while_()

    def _note_strangers(self) -> None:
        """A helper that nobody can tell from work, since its start was not seen: kept for it, rightly."""
        late = self.clock.true - self.nature.born > 25 * SECOND
        if any(not p.is_known_helper for p in self.nature.programs) and late:
            self._flaws.add("strange helper")

    def _start(self, *, works: bool, is_known_helper: bool = False, rate: float = 0.0) -> Program:
        program = Program(next(self._pids), self.clock.true, works, is_known_helper)
        program.run(self.clock.awake, rate)
        self.nature.programs.append(program)
        self.tell(f"program {program.pid} starts, {works=}, {is_known_helper=}")
        return program

    def _end(self, program: Program) -> None:
        self.tell(f"program {program.pid} ends")
        self.nature.programs.remove(program)

    def _rest(self) -> None:
        self.wait(self.rng.randrange(MINUTE, 3 * HOUR))

    # Turns

    def _turn(self, *, is_queued: bool = False) -> None:
        nature, voice = self.nature, self.voice
        voice.lost = False
        nature.turns += 1
        nature.turn = nature.turns
        nature.has_queued = False
        self.tell(f"turn {nature.turn} begins" + (" with queued input" if is_queued else ""))
        self._type(unseen=is_queued)
        voice.hook(K.TURN_START)
        voice.write(K.WORK if nature.kind is Kind.GEMINI else K.TURN_START)
        voice.show(NativeState.BUSY)
        self._paint()
        begun_up = self.daemon.is_up
        spinner = self.chance(0.5) and not self.daemon.eyes.spinner
        self.daemon.eyes.spinner |= spinner
        steps = (self._think, self._tool, self._think, self._mcp, self._ask, self._delegate, self._retry)
        for step in self.rng.choices(steps, k=self.rng.randrange(1, 5)):
            self.wait(5000)
            step()
        if spinner:
            self.daemon.eyes.spinner = False
        if self.chance(0.1):
            nature.has_queued = True
            self.tell("input is queued")
            self._type()
            self.while_()
        self._end_turn(is_interrupted=self.chance(0.2), begun_up=begun_up)
        if nature.has_queued:
            self.wait(self.rng.randrange(1000, 200_000))
            self._turn(is_queued=True)

    def _end_turn(self, *, is_interrupted: bool, begun_up: bool) -> None:
        nature, voice = self.nature, self.voice
        nature.turn, nature.is_asking = 0, False
        self.tell("turn ends" + (", interrupted" if is_interrupted else ""))
        self._paint()
        proof_in_record = nature.kind is Kind.CODEX or (nature.kind is Kind.GEMINI and is_interrupted)
        voice.write(K.SETTLED if proof_in_record else K.TURN_END)
        waits = tuple(f"program {p.pid}" for p in nature.programs if p.works)
        if nature.kind is Kind.CODEX:
            voice.hook(K.SETTLED if is_interrupted else K.STOP)
        elif nature.kind is Kind.NATIVE:
            if not is_interrupted:
                voice.hook(K.STOP, pending=waits)
        elif nature.kind is not Kind.GEMINI or not is_interrupted:
            voice.hook(K.SETTLED)
        voice.show(NativeState.SHELL if waits else NativeState.IDLE)
        if nature.kind is Kind.NATIVE and waits:
            self._flaws.add("its shells are told of at its next stop only")
        self.wait(SECOND)
        if is_interrupted and nature.kind is Kind.NATIVE:
            return
        if voice.lost or not (begun_up and self.daemon.is_up):
            self._turn_flaws.add("words were lost")
        else:
            self._turn_flaws.clear()

    def _think(self) -> None:
        self.tell("thinks")
        self.while_()
        self.voice.write(K.WORK)
        if self.chance(0.7):
            self._paint()

    def _tool(self) -> None:
        self.tell("runs a tool")
        self.voice.hook(K.WORK)
        tool = self._start(works=True, rate=self.rng.choice((0.0, 0.0, 0.9)))
        if self.chance(0.25):  # a background shell, a dev server, a double-forked build
            self.wait(self.rng.randrange(3 * SECOND))
            self.later(int(SECOND * 10 ** self.rng.uniform(1, 4.5)), lambda: self._end_background(tool))
        else:
            self.while_()
            self._end(tool)
        self.voice.hook(K.WORK)
        self.voice.write(K.WORK)

    def _end_background(self, tool: Program) -> None:
        if tool in self.nature.programs:
            self._end(tool)
            if not self.nature.turn:
                self.voice.show(NativeState.IDLE)

    def _mcp(self) -> None:
        """A call to a helper, which may wait for the network and use no CPU."""
        self.tell("calls a helper")
        self.voice.hook(K.WORK)
        self.while_()
        self.voice.write(K.WORK)

    def _ask(self) -> None:
        self.tell("asks")
        self.nature.is_asking = True
        self._paint()
        if self.nature.kind is not Kind.GEMINI or self.chance(0.8):
            self.voice.hook(K.WAITING)
        self.voice.show(NativeState.WAITING)
        self.while_()
        self.nature.is_asking = False
        self.tell("is answered")
        self._type()
        self._paint()
        self.voice.hook(K.ANSWERED if self.nature.kind in (Kind.PI, Kind.OPENCODE) else K.WORK)
        self.voice.show(NativeState.BUSY)

    def _delegate(self) -> None:
        if self.nature.kind not in (Kind.CODEX, Kind.OPENCODE, Kind.NATIVE):
            return
        name = f"agent {next(self._pids)}"
        self.nature.subagents.add(name)
        self.tell(f"{name} begins")
        before = self.voice.lost
        self.voice.lost = False
        self.voice.hook(K.SUBAGENT_START, subagent=name)
        start_lost, self.voice.lost = self.voice.lost, before or self.voice.lost
        if start_lost:
            self._flaws.add("the end of a subagent was lost")  # or told before its start
        if not start_lost and self.chance(0.3):  # it outlives the turn
            self.later(int(SECOND * 10 ** self.rng.uniform(1, 4)), lambda: self._end_subagent(name))
            return
        self.wait(self.rng.randrange(SECOND, 20 * MINUTE))
        self.voice.hook(K.SETTLED, subagent=name)  # a word of its own, which must not end its parent's turn
        self._end_subagent(name)

    def _end_subagent(self, name: str) -> None:
        if name not in self.nature.subagents:
            return
        self.nature.subagents.discard(name)
        self.tell(f"{name} ends")
        before, self.voice.lost = self.voice.lost, False
        self.voice.hook(K.SUBAGENT_END, subagent=name, is_awaited=False)
        if self.voice.lost or not self.daemon.is_up:
            self._flaws.add("the end of a subagent was lost")
        self.voice.lost |= before

    def _retry(self) -> None:
        self.tell("retries")
        if self.nature.kind in (Kind.OPENCODE, Kind.PI):
            self.voice.hook(K.RECOVERY_START)
        self.while_()
        if self.nature.kind is Kind.PI:
            self.voice.hook(K.RECOVERY_END)
        self.voice.hook(K.WORK)

    def _paint(self) -> None:
        self.daemon.painted += 1

    # What else happens

    def _compact(self) -> None:
        nature, voice = self.nature, self.voice
        if nature.kind is Kind.GEMINI:  # part of a turn there
            return
        self.tell("compacts")
        voice.lost = False
        nature.is_compacting = True
        nature.turns += 1
        moved, self.daemon.eyes.spinner = self.daemon.eyes.spinner, True  # all of them show that they do
        self._paint()
        if nature.kind is Kind.CODEX:  # a task of its own
            voice.write(K.TURN_START)
        if nature.kind is Kind.OPENCODE:
            voice.hook(K.WORK)
        voice.show(NativeState.BUSY)
        voice.hook(K.RECOVERY_START)
        self.while_()
        nature.is_compacting, self.daemon.eyes.spinner = False, moved
        self.tell("has compacted")
        voice.hook(K.RECOVERY_END)
        voice.write(K.SETTLED if nature.kind is Kind.CODEX else K.NOTE)
        if nature.kind is Kind.OPENCODE:
            self.wait(100_000)
            voice.hook(K.SETTLED)
        voice.show(NativeState.SHELL if any(p.works for p in nature.programs) else NativeState.IDLE)
        self._paint()
        if voice.lost or not self.daemon.is_up:
            self._turn_flaws.add("words were lost")

    def _clear(self) -> None:
        nature = self.nature
        if nature.subagents or any(p.works for p in nature.programs):
            return
        nature.conversation += 1
        self.tell(f"conversation {nature.conversation} begins")
        self._type()
        self._paint()
        self._turn_flaws.add("no turn has ended yet")
        if nature.kind is not Kind.CODEX:
            self.voice.write()
        self.voice.show(NativeState.IDLE)
        self.voice.hook(K.SESSION_START)

    def _type(self, *, unseen: bool = False) -> None:
        if not unseen:
            self.nature.typed, self.nature.typed_awake = self.clock.true, self.clock.awake
            self.daemon.typed()

    def _user(self) -> None:
        self.nature.is_attached = not self.nature.is_attached
        self.tell("is attached to" if self.nature.is_attached else "is left alone")
        if self.nature.is_attached:
            self._type()

    def _draft(self) -> None:
        if self.daemon.eyes.screen_unreadable:
            return  # on a screen that nobody can read, nobody can see it
        self.nature.has_draft = True
        self.tell("text is typed")
        self._type()
        self.while_()
        self.nature.has_draft = False
        self.tell("text is deleted")
        self._type()
        self._paint()

    def _set_clock(self) -> None:
        step = int(SECOND * self.rng.choice((-1, 1)) * 10 ** self.rng.uniform(1, 4))
        self.clock.offset += step
        self.tell(f"the clock is set by {step / SECOND:.0f} s")
        if step < 0:
            self._flaws.add("the clock was set back")
        else:
            self._turn_flaws.add("the clock was set")

    def _suspend(self) -> None:
        duration = int(SECOND * 10 ** self.rng.uniform(1, 4.5))
        self.tell(f"is suspended for {duration / SECOND:.0f} s")
        self.clock.true += duration
        self.clock.asleep += duration
        self._heap = [(at + duration, number, what) for at, number, what in self._heap]
        self.nature.stirred += duration

    def _restart(self) -> None:
        self.tell("musterd stops")
        self.daemon.stop()
        if self.chance(0.5):
            self.while_()
            if self.chance(0.5):
                self._turn()
        self.daemon.start()
        self.tell("musterd starts")

    def _wish(self) -> None:
        nature = self.nature
        nature.is_pinned, nature.is_inhibited = self.chance(0.5), self.chance(0.5)
        self.tell(f"{nature.is_pinned=} {nature.is_inhibited=}")
        self._rest()
        nature.is_pinned = nature.is_inhibited = False

    def _trouble(self) -> None:
        eyes = self.daemon.eyes
        eyes.screen_unreadable, eyes.spinner = self.chance(0.3), self.chance(0.3)
        eyes.native_torn = self.chance(0.2)
        is_torn = self.chance(0.2)
        if is_torn:
            self.voice.write(torn=True)
        trouble = f"{eyes.screen_unreadable=} {eyes.spinner=} {eyes.native_torn=} {is_torn=}"
        self.tell(trouble)
        self._flaws.discard("no screen")
        self._flaws.add(trouble)
        self._rest()
        eyes.screen_unreadable = eyes.spinner = eyes.native_torn = False
        if is_torn:
            self.voice.write()
        self.tell("the view is clear")
        self._flaws.discard(trouble)

    def _replace(self) -> None:
        self.nature.is_somebody_else = True
        self.tell("its pid is another program's")
        self._rest()
        self.nature.is_somebody_else = False

    def _helper_works(self) -> None:
        helpers = [p for p in self.nature.programs if p.is_known_helper]
        if not helpers:
            return
        helper = self.rng.choice(helpers)
        helper.run(self.clock.awake, self.rng.choice((0.05, 0.5)))
        self.tell(f"helper {helper.pid} works")
        # It is known by what it used between two looks: what began a moment ago is not to be seen yet.
        self.wait(FARTHEST_LOOKS)
        helper.works = True
        self.while_()
        helper.run(self.clock.awake, self.rng.choice((0.0, 0.001)))
        helper.works = False
        self.tell(f"helper {helper.pid} is quiet")

    def _twin(self) -> None:
        self.nature.has_twin = True
        self.tell("its conversation is opened elsewhere")
        self._rest()
        self.nature.has_twin = False
