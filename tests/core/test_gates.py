"""Every gate in both directions: what it keeps for, and that it lets a proven idle session pass."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.builders import BOOT, LEADER, MINUTE, NOW, SECOND, case, child, look, session, world
from musterd.core import gates
from musterd.core.case import Case, Finding, Mode, Outcome, Verdict
from musterd.core.config import ReaperConfig
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Identity, Native, NativeState, Presence, Screen, Transcript, Unknown
from musterd.core.inhibitor import Inhibitor, What
from musterd.core.inhibitor import Mode as InhibitMode
from musterd.core.life import heard
from musterd.core.pressure import Tier
from musterd.core.reaper import explain, rank
from musterd.core.session import Conversation, PidRef, Session, SessionId, Source, State
from musterd.core.suspend import Suspend
from musterd.core.turn import Subagent, Turn

HOUR = 60 * MINUTE


def turned(**changes: Any) -> Session:
    return session(turn=replace(session().turn, **changes))


def delegated(heard: int, is_overdue: bool = False) -> Session:
    return turned(subagents=(Subagent("a1", heard, is_overdue),))


def beside(turn: Turn) -> Session:
    return session(others=(Conversation("ses_other", turn),))


def left(ago: int) -> Session:
    """For another conversation, while a subagent of that one worked."""
    return beside(
        Turn(started=NOW - ago, heard=NOW - ago, ended=NOW - ago + 1, subagents=(Subagent("a1", NOW - ago),))
    )


def inhibitor(what: str = "reap", mode: InhibitMode = InhibitMode.BLOCK, **changes: Any) -> Inhibitor:
    held = Inhibitor(1, frozenset({What(what)}), "vim", "editing", mode, 1000, 1, "")
    return replace(held, **changes)


def seen(**changes: Any) -> Identity:
    return replace(Identity(LEADER, 1000, "/opt/codex", "thread-1"), **changes)


HELPER = child("mcp-server", helper=True)
STRANGER = child("make", helper=False)
SLEPT = [Suspend(NOW - 56 * MINUTE, NOW - MINUTE)]
HALF = [Suspend(NOW - 40 * MINUTE, NOW - 10 * MINUTE)]
LONG_AGO = Suspend(NOW - 9 * HOUR, NOW - 2 * HOUR)
YOUNG = session(started_usec=NOW - 9 * MINUTE)

TABLE: list[tuple[str, str, Case, Outcome]] = [
    ("protected", "an ordinary one", case(), Outcome.PASS),
    ("protected", "pinned", case(session=session(protected=True)), Outcome.KEEP),
    ("protected", "the daemon's own", case(is_ours=True), Outcome.KEEP),
    (
        "protected",
        "matched by title",
        case(session=session(title="the release"), config=ReaperConfig(protect=("title:*release*",))),
        Outcome.KEEP,
    ),
    ("protected", "matched by agent", case(config=ReaperConfig(protect=("agent:codex",))), Outcome.KEEP),
    ("protected", "another directory", case(config=ReaperConfig(protect=("cwd:/home/*",))), Outcome.PASS),
    ("inhibited", "block for all of the user's", case(inhibitors=[inhibitor()]), Outcome.KEEP),
    ("inhibited", "block for this one", case(inhibitors=[inhibitor(session="abcdef", uid=0)]), Outcome.KEEP),
    ("inhibited", "block for another one", case(inhibitors=[inhibitor(session="other")]), Outcome.PASS),
    ("inhibited", "another user's", case(inhibitors=[inhibitor(uid=1001)]), Outcome.PASS),
    ("inhibited", "delays only", case(inhibitors=[inhibitor(mode=InhibitMode.DELAY)]), Outcome.PASS),
    ("inhibited", "of stops only", case(inhibitors=[inhibitor("stop")]), Outcome.PASS),
    ("identity", "all agree", case(), Outcome.PASS),
    ("identity", "no kernel inode", case(session=session(leader=replace(LEADER, inode=0))), Outcome.PASS),
    ("identity", "a recycled pid", case(session=session(leader=replace(LEADER, inode=98))), Outcome.KEEP),
    ("identity", "another boot", case(session=session(leader=replace(LEADER, boot_id="b"))), Outcome.KEEP),
    ("identity", "another user", case(look=look(identity=seen(uid=0))), Outcome.KEEP),
    ("identity", "another program", case(look=look(identity=seen(executable="/bin/sh"))), Outcome.KEEP),
    (
        "identity",
        "another conversation",
        case(look=look(identity=seen(agent_session_id="t2"))),
        Outcome.KEEP,
    ),
    ("identity", "agent publishes no id", case(look=look(identity=seen(agent_session_id=""))), Outcome.PASS),
    ("identity", "no conversation known", case(session=session(agent_session_id="")), Outcome.UNKNOWN),
    ("identity", "cannot be read", case(look=look(identity=Unknown("gone"))), Outcome.UNKNOWN),
    ("identity", "remote", case(session=session(leader=None, host="h")), Outcome.UNKNOWN),
    ("unsupported", "adapter says no", case(unsupported="aider cannot prove it"), Outcome.KEEP),
    ("unsupported", "adapter says nothing", case(), Outcome.PASS),
    ("young", "two hours", case(), Outcome.PASS),
    ("young", "nine minutes", case(session=YOUNG), Outcome.KEEP),
    ("young", "just resumed", case(session=session(resumed_usec=NOW - MINUTE)), Outcome.KEEP),
    (
        "young",
        "an hour, slept through",
        case(session=session(started_usec=NOW - HOUR), suspends=SLEPT),
        Outcome.KEEP,
    ),
    ("young", "from the future", case(session=session(started_usec=NOW + MINUTE)), Outcome.UNKNOWN),
    ("recovery", "none", case(), Outcome.PASS),
    ("recovery", "compacting", case(session=turned(recovering=NOW - 9 * MINUTE)), Outcome.KEEP),
    ("waiting", "nothing asked", case(), Outcome.PASS),
    ("waiting", "a permission", case(session=turned(waiting=NOW - MINUTE)), Outcome.KEEP),
    ("waiting", "says its status", case(look=look(native=Native(NativeState.WAITING))), Outcome.KEEP),
    ("turn", "ended", case(), Outcome.PASS),
    ("turn", "never a word", case(session=session(turn=Turn())), Outcome.UNKNOWN),
    ("turn", "ended without proof", case(session=turned(settled=0)), Outcome.UNKNOWN),
    ("turn", "began anew", case(session=turned(started=NOW - MINUTE)), Outcome.KEEP),
    ("turn", "began in the same instant", case(session=turned(started=NOW - 60 * MINUTE)), Outcome.KEEP),
    ("turn", "its state is another", case(session=session(state=State.BUSY)), Outcome.KEEP),
    (
        "turn",
        "ended before the clock was set back, and no turn told since may be newer",
        case(clock_twice=(NOW - 70 * MINUTE, NOW - 50 * MINUTE)),
        Outcome.UNKNOWN,
    ),
    (
        "turn",
        "another conversation did",
        case(
            session=beside(Turn(ended=NOW - 80 * MINUTE)), clock_twice=(NOW - 90 * MINUTE, NOW - 70 * MINUTE)
        ),
        Outcome.UNKNOWN,
    ),
    ("turn", "ended after that", case(clock_twice=(NOW - 90 * MINUTE, NOW - 61 * MINUTE)), Outcome.PASS),
    ("turn", "ended long before that", case(clock_twice=(NOW - 59 * MINUTE, NOW)), Outcome.PASS),
    ("turn", "another is at rest", case(session=beside(session().turn)), Outcome.PASS),
    ("turn", "another is at work", case(session=beside(Turn(started=NOW - 9 * HOUR))), Outcome.KEEP),
    ("turn", "another waits", case(session=beside(Turn(waiting=1))), Outcome.KEEP),
    ("turn", "another compacts", case(session=beside(Turn(recovering=1))), Outcome.KEEP),
    ("turn", "another has background work", case(session=beside(Turn(pending=("make",)))), Outcome.KEEP),
    ("turn", "another has a subagent", case(session=beside(delegated(NOW).turn)), Outcome.KEEP),
    (
        "turn",
        "another had a subagent, silent for a day",
        case(session=beside(delegated(NOW - 25 * HOUR, True).turn)),
        Outcome.PASS,
    ),
    ("turn", "another was left with a subagent a day ago", case(session=left(25 * HOUR)), Outcome.PASS),
    ("turn", "another was left with a subagent today", case(session=left(23 * HOUR)), Outcome.KEEP),
    (
        "turn",
        "another was left with a subagent, and no turn since",
        case(session=replace(left(25 * HOUR), turn=replace(session().turn, started=NOW - 26 * HOUR))),
        Outcome.KEEP,
    ),
    ("quiet", "another spoke", case(session=beside(Turn(heard=NOW - 9 * MINUTE))), Outcome.KEEP),
    ("native", "has none", case(), Outcome.PASS),
    ("native", "idle", case(look=look(native=Native(NativeState.IDLE))), Outcome.PASS),
    ("native", "busy", case(look=look(native=Native(NativeState.BUSY))), Outcome.KEEP),
    ("native", "a shell still runs", case(look=look(native=Native(NativeState.SHELL))), Outcome.KEEP),
    ("native", "unreadable", case(look=look(native=Unknown("torn"))), Outcome.UNKNOWN),
    ("pending", "nothing", case(), Outcome.PASS),
    ("pending", "a background task", case(session=turned(pending=("npm run dev",))), Outcome.KEEP),
    ("pending", "a claim", case(claims=["c1"]), Outcome.KEEP),
    ("pending", "an empty queue", case(look=look(queued=0)), Outcome.PASS),
    ("pending", "an input in its queue", case(look=look(queued=1)), Outcome.KEEP),
    ("pending", "an unreadable queue", case(look=look(queued=Unknown("no table"))), Outcome.UNKNOWN),
    ("pending", "a draft", case(look=look(screen=Screen("digest", has_draft=True))), Outcome.KEEP),
    ("subagent", "none", case(), Outcome.PASS),
    ("subagent", "one", case(session=delegated(NOW - 9 * HOUR)), Outcome.KEEP),
    ("subagent", "one, silent through a turn", case(session=delegated(NOW - 23 * HOUR, True)), Outcome.KEEP),
    ("subagent", "and for a day", case(session=delegated(NOW - 25 * HOUR, True)), Outcome.PASS),
    (
        "subagent",
        "and through a day, an hour of it suspended",
        case(session=delegated(NOW - 24 * HOUR - MINUTE, True), suspends=SLEPT),
        Outcome.KEEP,
    ),
    ("children", "none", case(), Outcome.PASS),
    (
        "children",
        "a helper at work for the seconds before a suspend",
        case(
            look=look(children=(child("mcp-server", helper=True, cpu=2 * SECOND),)),
            earlier=look(at=NOW - 56 * MINUTE, children=(HELPER,)),
            suspends=SLEPT,
        ),
        Outcome.KEEP,
    ),
    (
        "children",
        "which is little without one",
        case(
            look=look(children=(child("mcp-server", helper=True, cpu=2 * SECOND),)),
            earlier=look(at=NOW - 56 * MINUTE, children=(HELPER,)),
        ),
        Outcome.PASS,
    ),
    ("children", "a build", case(look=look(children=(STRANGER,))), Outcome.KEEP),
    ("children", "unreadable", case(look=look(children=Unknown("denied"))), Outcome.UNKNOWN),
    (
        "children",
        "a quiet helper",
        case(look=look(children=(HELPER,)), earlier=look(at=NOW - 30 * SECOND, children=(HELPER,))),
        Outcome.PASS,
    ),
    (
        "children",
        "a busy helper",
        case(
            look=look(children=(replace(HELPER, cpu_usec=3 * SECOND),)),
            earlier=look(at=NOW - 30 * SECOND, children=(HELPER,)),
        ),
        Outcome.KEEP,
    ),
    ("children", "a helper seen once", case(look=look(children=(HELPER,)), earlier=None), Outcome.UNKNOWN),
    (
        "children",
        "there since before the first turn",
        case(
            look=look(children=(child(helper=False, age=120 * MINUTE - 5 * SECOND),)),
            earlier=look(at=NOW - 30 * SECOND),
        ),
        Outcome.PASS,
    ),
    (
        "children",
        "started in the moment of the first turn",
        case(
            session=turned(first=NOW - 120 * MINUTE + 5 * SECOND),
            look=look(children=(child(helper=False, age=120 * MINUTE - 4_500_000),)),
        ),
        Outcome.KEEP,
    ),
    (
        "children",
        "there since before the first turn, but nobody watched then",
        case(
            session=session(created_usec=NOW - 60 * MINUTE),
            look=look(children=(child(helper=False, age=120 * MINUTE - 5 * SECOND),)),
        ),
        Outcome.KEEP,
    ),
    (
        "children",
        "started in a turn, but the clock was set back since: its time of day is before the first turn",
        case(
            look=look(children=(replace(STRANGER, start_usec=NOW - 130 * MINUTE),)),
            earlier=look(at=NOW - 30 * SECOND),
        ),
        Outcome.KEEP,
    ),
    ("transcript", "unchanged", case(), Outcome.PASS),
    ("transcript", "not known", case(look=look(transcript=None)), Outcome.UNKNOWN),
    (
        "transcript",
        "older than the end of its turn: the clock was set back, and a turn of now looks earlier than that",
        case(session=turned(settled=NOW - 50 * MINUTE)),
        Outcome.UNKNOWN,
    ),
    ("transcript", "unreadable", case(look=look(transcript=Unknown("a FIFO"))), Outcome.UNKNOWN),
    ("transcript", "looked at once", case(earlier=None), Outcome.UNKNOWN),
    (
        "transcript",
        "torn",
        case(look=look(transcript=Transcript(1, 2, 3000, 1, is_complete=False))),
        Outcome.KEEP,
    ),
    (
        "transcript",
        "grew",
        case(look=look(transcript=Transcript(1, 2, 3001, 1, is_complete=True))),
        Outcome.KEEP,
    ),
    (
        "transcript",
        "cut",
        case(look=look(transcript=Transcript(1, 2, 0, 1, is_complete=True))),
        Outcome.KEEP,
    ),
    (
        "transcript",
        "rotated",
        case(look=look(transcript=Transcript(1, 9, 3000, 1, is_complete=True))),
        Outcome.KEEP,
    ),
    ("screen", "unchanged", case(), Outcome.PASS),
    ("screen", "moved", case(look=look(screen=Screen("other"))), Outcome.KEEP),
    ("screen", "a dialog", case(look=look(screen=Screen("digest", has_dialog=True))), Outcome.KEEP),
    ("screen", "looked at once", case(earlier=None), Outcome.UNKNOWN),
    ("screen", "unreadable", case(look=look(screen=Unknown("tmux hangs"))), Outcome.UNKNOWN),
    (
        "screen",
        "unreadable, but the agent has a status",
        case(look=look(screen=Unknown("tmux hangs"), native=Native(NativeState.IDLE))),
        Outcome.PASS,
    ),
    (
        "present",
        "typed before the clock was set forward",
        case(look=look(presence=Presence(True, NOW - 60 * MINUTE)), clock_stepped=NOW - 5 * MINUTE),
        Outcome.KEEP,
    ),
    (
        "present",
        "typed before an hour of suspend",
        case(look=look(presence=Presence(True, NOW - HOUR)), suspends=SLEPT),
        Outcome.KEEP,
    ),
    ("present", "nobody", case(), Outcome.PASS),
    ("present", "typed just now", case(look=look(presence=Presence(True, NOW - MINUTE))), Outcome.KEEP),
    ("present", "attached, away", case(look=look(presence=Presence(True, NOW - 16 * MINUTE))), Outcome.PASS),
    ("present", "unreadable", case(look=look(presence=Unknown("tmux hangs"))), Outcome.UNKNOWN),
    ("quiet", "an hour", case(), Outcome.PASS),
    ("quiet", "eleven minutes at critical", case(session=turned(heard=NOW - 11 * MINUTE)), Outcome.PASS),
    (
        "quiet",
        "eleven minutes at elevated",
        case(session=turned(heard=NOW - 11 * MINUTE), tier=Tier.ELEVATED),
        Outcome.KEEP,
    ),
    ("quiet", "nine minutes at critical", case(session=turned(heard=NOW - 9 * MINUTE)), Outcome.KEEP),
    ("quiet", "a child started", case(look=look(children=(child(helper=True, age=MINUTE),))), Outcome.KEEP),
    ("quiet", "in the future", case(session=turned(heard=NOW + MINUTE)), Outcome.UNKNOWN),
    ("quiet", "an hour, most of it suspended", case(suspends=SLEPT), Outcome.KEEP),
    ("quiet", "an hour, suspended before", case(suspends=[LONG_AGO]), Outcome.PASS),
    ("quiet", "an hour, half of it suspended", case(suspends=HALF), Outcome.PASS),
    ("quiet", "the clock was set", case(clock_stepped=NOW - MINUTE), Outcome.KEEP),
    ("resumable", "with a recipe", case(), Outcome.PASS),
    ("resumable", "without one", case(session=session(resume_command=())), Outcome.KEEP),
    ("resumable", "open twice", case(twins=[SessionId("twin")]), Outcome.KEEP),
    ("worktree", "noted only", case(look=look(worktree="3 files changed")), Outcome.PASS),
    (
        "worktree",
        "kept by policy",
        case(look=look(worktree="3 files changed"), config=ReaperConfig(worktree_policy="keep")),
        Outcome.KEEP,
    ),
    (
        "worktree",
        "clean",
        case(look=look(worktree=""), config=ReaperConfig(worktree_policy="keep")),
        Outcome.PASS,
    ),
    ("worktree", "not looked at", case(config=ReaperConfig(worktree_policy="keep")), Outcome.UNKNOWN),
]


@pytest.mark.parametrize(
    ("name", "story", "given", "outcome"), TABLE, ids=lambda v: v if isinstance(v, str) else ""
)
def test_gate(name: str, story: str, given: Case, outcome: Outcome) -> None:
    assert dict(gates.CASE_GATES)[name](given).outcome is outcome


@pytest.mark.parametrize("name", [name for name, _ in gates.CASE_GATES])
def test_each_gate_is_seen_to_pass_and_not_to_pass(name: str) -> None:
    outcomes = {outcome for gate, _, _, outcome in TABLE if gate == name}
    assert Outcome.PASS in outcomes
    assert outcomes - {Outcome.PASS}


@pytest.mark.parametrize(
    ("name", "given", "outcome"),
    [
        ("mode", world(), Outcome.PASS),
        ("mode", world(mode=Mode.OFF), Outcome.KEEP),
        ("tier", world(tier=Tier.ELEVATED), Outcome.PASS),
        ("tier", world(tier=Tier.NORMAL), Outcome.KEEP),
        ("cooldown", world(acted=(14 * SECOND,)), Outcome.KEEP),
        ("cooldown", world(acted=(16 * SECOND,)), Outcome.PASS),
        ("cooldown", world(acted=(59 * MINUTE, 14 * SECOND)), Outcome.KEEP),
        ("cooldown", world(acted=(59 * MINUTE,) * 6), Outcome.KEEP),
        ("cooldown", world(acted=(61 * MINUTE,) * 6), Outcome.PASS),
    ],
)
def test_gate_about_the_machine(name: str, given: Any, outcome: Outcome) -> None:
    assert dict(gates.WORLD_GATES)[name](given, case()).outcome is outcome


@pytest.mark.parametrize(
    ("refused", "given", "outcome"),
    [
        (0, {}, Outcome.PASS),
        (NOW - MINUTE, {}, Outcome.KEEP),
        (NOW - 3 * MINUTE, {}, Outcome.PASS),
        (NOW + 1, {}, Outcome.PASS),
        (NOW - 3 * MINUTE, {"suspends": [Suspend(NOW - 3 * MINUTE, NOW - MINUTE)]}, Outcome.KEEP),
        (NOW - 63 * MINUTE, {"suspends": [Suspend(NOW - 62 * MINUTE, NOW - 2 * MINUTE)]}, Outcome.PASS),
        (NOW - 3 * MINUTE, {"clock_stepped": NOW - MINUTE}, Outcome.KEEP),
        (NOW + HOUR, {"clock_stepped": NOW - MINUTE}, Outcome.KEEP),
        (NOW + HOUR, {"clock_stepped": NOW - 3 * MINUTE}, Outcome.PASS),
    ],
)
def test_refused_one_is_left_alone_for_a_while_of_life(
    refused: int, given: dict[str, Any], outcome: Outcome
) -> None:
    assert gates.cooldown(world(), case(refused=refused, **given)).outcome is outcome


def test_proven_idle_session_is_reaped_under_pressure() -> None:
    assert explain(case(), world()).verdict is Verdict.REAP


def test_eligible_means_that_only_the_machine_holds_it() -> None:
    explanation = explain(case(), world(tier=Tier.NORMAL))
    assert (explanation.verdict, explanation.kept_by) == (Verdict.ELIGIBLE, "tier")


def test_the_first_gate_that_does_not_pass_is_told() -> None:
    explanation = explain(case(session=session(protected=True, resume_command=())), world(mode=Mode.OFF))
    assert (explanation.verdict, explanation.kept_by, explanation.reason) == (
        Verdict.KEEP,
        "protected",
        "pinned by its user",
    )


def test_every_gate_is_asked() -> None:
    names = [gate.name for gate in explain(case(session=session(protected=True)), world()).gates]
    assert names == [name for name, _ in (*gates.CASE_GATES, *gates.WORLD_GATES)]


@pytest.mark.parametrize(
    ("gates", "verdict"), [("CASE_GATES", Verdict.KEEP), ("WORLD_GATES", Verdict.ELIGIBLE)]
)
def test_gate_that_breaks_keeps_and_is_told_of(
    gates: str, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Finding:
        raise KeyError("no such thing")

    monkeypatch.setattr(f"musterd.core.reaper.{gates}", (("broken", broken),))
    told: list[str] = []
    explanation = explain(case(), world(), lambda gate, exc: told.append(f"{gate}: {exc!r}"))
    assert (explanation.verdict, explanation.kept_by) == (verdict, "broken")
    assert told == ["broken: KeyError('no such thing')"]


MIB = 2**20


@pytest.mark.parametrize(
    ("why", "first", "second"),
    [
        ("most memory", (900 * MIB, 5 * MIB, 60), (300 * MIB, 3000, 90)),
        ("least to read again, where memory is alike", (300 * MIB, 3000, 60), (310 * MIB, 5 * MIB, 90)),
        ("longest quiet, where that is alike, too", (300 * MIB, 3100, 90), (310 * MIB, 3000, 60)),
    ],
)
def test_what_goes_first(why: str, first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
    def idle(private: int, record: int, minutes: int) -> Case:
        since = NOW - minutes * MINUTE
        return case(
            session=turned(started=0, ended=0, settled=since, heard=0),
            look=look(
                usage=replace(look().usage, private=private),
                transcript=Transcript(1, 2, record, since, is_complete=True),
            ),
        )

    cases = [idle(*first), idle(*second)]
    assert rank(cases) == rank(cases[::-1]) == cases


def test_pid_is_another_process_after_a_reboot() -> None:
    assert not LEADER.is_same(PidRef(LEADER.pid, LEADER.start_ticks, "other boot", LEADER.inode))
    assert LEADER.is_same(PidRef(LEADER.pid, LEADER.start_ticks, BOOT, 0))


def test_process_is_kept_for_a_conversation_at_work_beside_the_one_that_ended() -> None:
    known, outcomes = session(agent_session_id="a"), []
    for kind, name in (
        (EventKind.WORK, "a"),
        (EventKind.SESSION_START, "b"),
        (EventKind.WORK, "b"),
        (EventKind.SETTLED, "b"),
        (EventKind.SETTLED, "a"),
        (EventKind.WORK, "a"),
        (EventKind.SETTLED, "a"),
    ):
        at = known.last_activity_usec + SECOND
        known = heard(known, AgentEvent(kind, at, agent_session_id=name), Source.HOOK)
        outcomes.append(gates.turn(case(session=known)).outcome is Outcome.PASS)
    assert outcomes == [False, False, False, False, True, False, True]
