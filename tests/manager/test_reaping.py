"""The reaper looks, judges and, for now, pretends."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from helpers.builders import MINUTE, SECOND, look
from helpers.fakes import ALICE, BOB, DISK_FULL, ROOT, Bench
from helpers.wait import until
from musterd.core.case import Case, Finding, Mode, Verdict
from musterd.core.config import Config, PressureConfig, ReaperConfig
from musterd.core.errors import Failed, InvalidArgs, NotAuthorized
from musterd.core.evidence import Identity, Observation, Transcript, Work
from musterd.core.session import Agent, Session
from musterd.core.spec import Spec

HOUR = 60 * MINUTE

EAGER = Config(
    pressure=PressureConfig(dwell=0),
    reaper=ReaperConfig(min_age=0, quiet_elevated=0, quiet_critical=0, grace=0, post_action_delay=0),
)


async def idle_sessions(count: int = 1, config: Config = EAGER) -> tuple[Bench, list[Session]]:
    """Sessions of alice whose turns have ended, some time ago."""
    bench = Bench(config)
    bench.alice.start(*range(1, count + 1))
    sessions = []
    for pid in range(1, count + 1):
        session = await bench.manager.register(
            ALICE, Spec(pid=pid, agent=Agent.CODEX, agent_session_id=f"t{pid}")
        )
        bench.alice.parents[50] = pid
        await bench.hooks.report_event(ALICE, Agent.CODEX, "settled", {"id": f"t{pid}"})
        sessions.append(bench.manager.registry.get(session.id))
        bench.clock.time += SECOND
    return bench, sessions


async def test_one_look_is_not_enough_and_two_are() -> None:
    bench, (session,) = await idle_sessions()
    bench.gauge.press(50)
    bench.manager.pressure = bench.manager.pressure.next(await bench.gauge.queue.get(), EAGER.pressure)
    first, _ = await bench.judge.explain(session)
    assert (first.verdict, first.kept_by) == (Verdict.KEEP, "transcript")
    second, _ = await bench.judge.explain(session)
    assert (second.verdict, second.kept_by) == (Verdict.REAP, "")


async def test_looks_closer_than_a_grace_do_not_make_two() -> None:
    config = replace(EAGER, reaper=replace(EAGER.reaper, grace=30))
    bench, (session,) = await idle_sessions(config=config)
    start = bench.clock.time
    for after, kept_by in ((0, "transcript"), (10, "transcript"), (29, "transcript"), (30, "tier")):
        bench.clock.time = start + after * SECOND
        bench.alice.looks[session.id] = replace(_look(session), at=bench.clock.time)
        assert (await bench.judge.explain(session))[0].kept_by == kept_by


def _look(session: Session) -> Observation:
    assert session.leader
    return look(
        identity=Identity(session.leader, 1000, session.executable, session.agent_session_id),
        transcript=Transcript(1, 2, 3000, session.turn.settled, is_complete=True),
    )


async def test_looks_of_long_ago_are_not_compared_with() -> None:
    config = replace(EAGER, reaper=replace(EAGER.reaper, grace=30))
    bench, (session,) = await idle_sessions(config=config)
    for after in (0, 3600):
        bench.clock.time += after * SECOND
        bench.alice.looks[session.id] = replace(_look(session), at=bench.clock.time)
        explanation, _ = await bench.judge.explain(session)
    assert explanation.kept_by == "transcript"


def _suspended(bench: Bench) -> None:
    bench.clock.suspend(60 * SECOND)


def _set_forward(bench: Bench) -> None:
    bench.clock.set(60 * SECOND)


def _set_back(bench: Bench) -> None:
    bench.clock.set(-60 * SECOND)


@pytest.mark.parametrize("happens", [_suspended, _set_forward, _set_back])
async def test_two_looks_are_a_grace_of_life_apart_whatever_the_clock_does(
    happens: Callable[[Bench], None],
) -> None:
    config = replace(EAGER, reaper=replace(EAGER.reaper, grace=30))
    bench, (session,) = await idle_sessions(config=config)

    async def kept_by() -> str:
        bench.alice.looks[session.id] = replace(_look(session), at=bench.clock.time)
        return (await bench.judge.explain(session))[0].kept_by

    assert await kept_by() == "transcript"
    happens(bench)
    bench.clock.time += SECOND
    assert await kept_by() == "transcript"
    bench.clock.time += 31 * SECOND
    assert await kept_by() in ("tier", "quiet")


async def test_look_that_was_made_when_the_clock_was_set_is_none() -> None:
    bench, (session,) = await idle_sessions()
    for step in (-60, 60):
        bench.alice.looks[session.id] = replace(_look(session), at=bench.clock.time)
        bench.clock.set(step * SECOND)
        for _ in range(2):
            assert (await bench.judge.explain(session))[0].kept_by == "transcript"


async def test_dry_run_takes_one_at_a_time_within_its_budget_and_ends_nothing() -> None:
    bench, _ = await idle_sessions(8)
    bench.gauge.press(50)
    tasks = [asyncio.create_task(bench.manager.run()), asyncio.create_task(bench.reaper.run())]
    await until(lambda: bench.manager.pressure_raised.is_set())
    for _ in range(30):
        await bench.reaper.relieve()
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    taken = [told for told in bench.announcer.told if told.startswith("reaped")]
    assert len(taken) == len(set(taken)) == 6
    assert all(told.endswith("True") for told in taken)
    assert len(bench.manager.visible(ALICE)) == 8
    assert bench.log.kinds().count("would-reap") == len(bench.store.modes.actions) == 6


@pytest.mark.parametrize(
    ("happens", "spent"),
    [
        (lambda bench: bench.clock.suspend(9 * HOUR), 1),  # nobody could see what was done, nor object
        (lambda bench: bench.clock.set(9 * HOUR), 1),  # nobody can tell how long ago it was
        (lambda bench: bench.clock.set(-9 * HOUR), 1),
        (lambda bench: bench.clock.pass_by(HOUR), 0),
    ],
    ids=["a suspend", "a clock set forward", "a clock set back", "an hour"],
)
async def test_budget_of_an_hour_is_one_of_life(happens: Callable[[Bench], None], spent: int) -> None:
    bench, _ = await idle_sessions(config=replace(EAGER, reaper=replace(EAGER.reaper, budget_per_hour=1)))
    bench.manager.modes = replace(bench.manager.modes, actions=(bench.clock.time,))
    bench.clock.pass_by(SECOND)
    happens(bench)
    assert len(bench.judge.actions) == spent
    bench.clock.pass_by(HOUR)
    assert not bench.judge.actions


async def test_gate_that_breaks_keeps_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Case) -> Finding:
        raise KeyError("no such thing")

    monkeypatch.setattr("musterd.core.reaper.CASE_GATES", (("young", broken),))
    bench, sessions = await idle_sessions(2)
    for _ in range(2):
        judged = await bench.judge.evaluate(sessions)
        assert [explanation.kept_by for _, explanation in judged] == ["young", "young"]
    assert [record.message for record in caplog.records] == ["Gate 'young' failed, and keeps for it"]


async def test_pressure_that_is_there_at_the_start_is_relieved() -> None:
    again = Bench(EAGER)
    again.gauge.pressed = 50
    await again.manager.load()
    assert again.manager.pressure_raised.is_set()


async def test_nothing_is_taken_when_the_order_cannot_be_written() -> None:
    bench, _ = await idle_sessions()
    bench.gauge.press(50)
    bench.manager.pressure = bench.manager.pressure.next(await bench.gauge.queue.get(), EAGER.pressure)
    bench.store.failure = DISK_FULL
    await bench.reaper.relieve()
    await bench.reaper.relieve()
    assert not [told for told in bench.announcer.told if told.startswith("reaped")]
    assert bench.manager.health.reasons == ["The disk is full."]


async def test_warden_that_does_not_answer_keeps_its_sessions_and_is_told_of() -> None:
    bench, sessions = await idle_sessions()
    bench.alice.failure = Failed("no answer")
    assert await bench.judge.evaluate(sessions) == []
    assert bench.manager.health.reasons == ["the warden of user 1000 does not answer"]
    bench.alice.failure = None
    await bench.judge.evaluate(sessions)
    assert bench.manager.health.reasons == []


async def test_twin_of_the_same_conversation_keeps_both() -> None:
    bench, (session,) = await idle_sessions()
    bench.alice.start(2)
    await bench.manager.register(ALICE, Spec(pid=2, agent=Agent.CODEX, agent_session_id="t1"))
    for _ in range(2):
        explanation, _ = await bench.judge.explain(session)
    assert explanation.kept_by == "resumable"


async def test_mode_is_an_operators_and_durable() -> None:
    bench = Bench(operators=[1000])
    with pytest.raises(NotAuthorized):
        await bench.reaper.set_mode(BOB, "off", "because")
    await bench.reaper.set_mode(ALICE, "off", "because")
    change = bench.store.modes.reaper_change
    assert (bench.store.modes.reaper, change.by_uid, change.why) == (Mode.OFF, 1000, "because")
    assert bench.announcer.told == [
        "Mode ModeUID ModeUSec ModeWhy AutoDisabled AutoDisabledReason Health HealthReasons"
    ]


@pytest.mark.parametrize("mode", ["", "On", "dry", "x" * 9000])
async def test_mode_that_there_is_none_of_is_refused(mode: str) -> None:
    with pytest.raises(InvalidArgs):
        await Bench().reaper.set_mode(ROOT, mode, "because")


async def test_verdict_is_written_when_it_changes_not_at_each_look() -> None:
    bench, sessions = await idle_sessions()
    for _ in range(5):
        bench.clock.time += MINUTE // 100
        await bench.judge.evaluate(sessions)
    assert bench.log.kinds().count("verdict") == 2


# Uncommitted work

KEEPING = replace(EAGER, reaper=replace(EAGER.reaper, worktree_policy="keep"))
DIRTY, CLEAN, HIDDEN = Work(uncommitted=3), Work(uncommitted=0), Work(unknown=("git hangs",))


async def ripe(count: int = 1, config: Config = KEEPING) -> tuple[Bench, list[Session]]:
    """Sessions that nothing but their directory keeps, after a first look."""
    bench, sessions = await idle_sessions(count, config)
    bench.gauge.press(50)
    bench.manager.pressure = bench.manager.pressure.next(await bench.gauge.queue.get(), EAGER.pressure)
    await bench.judge.evaluate(sessions)
    assert asked(bench) == []
    return bench, sessions


def asked(bench: Bench) -> list[str]:
    return [told.removeprefix("work ") for told in bench.alice.told if told.startswith("work ")]


@pytest.mark.parametrize(
    ("work", "verdict", "reason"),
    [
        (DIRTY, (Verdict.KEEP, "worktree"), "3 uncommitted files"),
        (Work(uncommitted=1), (Verdict.KEEP, "worktree"), "1 uncommitted file"),
        (HIDDEN, (Verdict.KEEP, "worktree"), "git hangs"),
        (CLEAN, (Verdict.REAP, ""), "every gate passes"),
        (Work(), (Verdict.REAP, ""), "every gate passes"),
    ],
)
async def test_uncommitted_work_keeps_by_policy(work: Work, verdict: object, reason: str) -> None:
    bench, (session,) = await ripe()
    bench.alice.unfinished[session.id] = work
    explanation, _ = await bench.judge.explain(session)
    assert ((explanation.verdict, explanation.kept_by), explanation.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("work", "note"),
    [
        (DIRTY, "3 uncommitted files, by policy not a gate"),
        (HIDDEN, "not a gate by policy; git hangs"),
        (CLEAN, "no uncommitted work"),
    ],
)
async def test_uncommitted_work_is_noted_for_one_that_is_looked_at_alone(work: Work, note: str) -> None:
    bench, (session,) = await ripe(config=EAGER)
    bench.alice.unfinished[session.id] = work
    explanation, _ = await bench.judge.explain(session)
    assert explanation.verdict is Verdict.REAP
    assert [gate.finding.evidence for gate in explanation.gates if gate.name == "worktree"] == [note]


async def test_directories_are_looked_at_only_where_they_decide() -> None:
    bench, sessions = await ripe(3)
    bench.manager.registry.put(replace(sessions[0], protected=True))
    await bench.judge.evaluate([bench.manager.registry.get(s.id) for s in sessions])
    assert sorted(asked(bench)) == sorted(s.id for s in sessions[1:])
    bench, sessions = await ripe(3, EAGER)
    await bench.judge.evaluate(sessions)
    assert asked(bench) == []


async def test_uncommitted_work_is_not_looked_for_in_each_round_and_always_before_an_end() -> None:
    bench, sessions = await ripe(2)
    bench.alice.unfinished = {sessions[0].id: DIRTY, sessions[1].id: CLEAN}
    for _ in range(2):
        await bench.judge.evaluate(sessions)
    assert sorted(asked(bench)) == sorted([sessions[0].id, sessions[1].id, sessions[1].id])
    bench.alice.unfinished = {}
    assert (await bench.judge.explain(sessions[0]))[0].verdict is Verdict.REAP
    bench.clock.time += 6 * MINUTE
    await bench.judge.evaluate(sessions)
    assert asked(bench).count(sessions[0].id) == 3


async def test_sessions_of_one_directory_ask_once() -> None:
    bench, sessions = await ripe(3)
    for session in sessions:
        bench.manager.registry.put(replace(bench.manager.registry.get(session.id), cwd="/work/same"))
    bench.alice.unfinished[sessions[0].id] = DIRTY
    judged = await bench.judge.evaluate([bench.manager.registry.get(s.id) for s in sessions])
    assert [explanation.kept_by for _, explanation in judged] == ["worktree"] * 3
    assert asked(bench) == [sessions[0].id]


async def test_a_directory_that_cannot_be_asked_about_keeps_its_sessions() -> None:
    bench, (session,) = await ripe()
    bench.alice.unasked = Failed("no such warden")
    explanation, _ = await bench.judge.explain(session)
    assert explanation.kept_by == "worktree"
    assert explanation.reason == "its directory cannot be looked at: no such warden"


async def test_what_begins_while_the_directory_is_looked_at_keeps() -> None:
    bench, (session,) = await ripe()

    async def begin() -> None:
        await bench.hooks.report_event(ALICE, Agent.CODEX, "turn-start", {"id": "t1"})

    bench.alice.before_work = begin
    assert (await bench.judge.explain(session))[0].kept_by == "turn"


async def pressed(mode: Mode, count: int = 1) -> tuple[Bench, list[Session]]:
    """Idle sessions in scopes of their own, looked at once, while memory is short."""
    bench, sessions = await idle_sessions(count)
    for session in sessions:
        bench.manager.registry.put(replace(session, scope=f"musterd-{session.id}.scope"))
    bench.gauge.press(50)
    bench.manager.pressure = bench.manager.pressure.next(await bench.gauge.queue.get(), EAGER.pressure)
    await bench.reaper.set_mode(ROOT, mode.value, "a test")
    await bench.reaper.relieve()
    return bench, sessions


async def test_memory_is_taken_back_before_anything_is_ended() -> None:
    bench, (session,) = await pressed(Mode.ON)
    bench.alice.reclaimable[session.id] = 4096
    await bench.reaper.relieve()
    assert [word for word in bench.alice.told if word.startswith(("reclaim", "end"))] == [
        f"reclaim {session.id}"
    ]
    (record,) = [record for record in bench.log.records if record.kind == "reclaimed"]
    assert (record.session, record.fields) == (session.id, {"freed": 4096})


async def test_memory_is_taken_back_once_in_an_idle_time() -> None:
    bench, (session,) = await pressed(Mode.ON)
    bench.alice.reclaimable[session.id] = 4096
    await bench.reaper.relieve()
    await bench.reaper.relieve()
    assert [word for word in bench.alice.told if word.startswith(("reclaim", "end"))] == [
        f"reclaim {session.id}",
        f"end {session.id}",
    ]


@pytest.mark.parametrize("failure", [None, Failed("it hangs")])
async def test_where_no_memory_comes_back_the_session_is_reaped_at_once(failure: Failed | None) -> None:
    bench, (session,) = await pressed(Mode.ON)
    bench.alice.unreclaimable = failure
    await bench.reaper.relieve()
    assert f"end {session.id}" in bench.alice.told


async def test_dry_run_takes_no_memory_back() -> None:
    bench, (session,) = await pressed(Mode.DRY_RUN)
    await bench.reaper.relieve()
    assert f"reclaim {session.id}" not in bench.alice.told


async def test_session_without_a_scope_is_not_asked_for_memory() -> None:
    bench, (session,) = await pressed(Mode.ON)
    bench.manager.registry.put(replace(bench.manager.registry.get(session.id), scope=""))
    await bench.reaper.relieve()
    assert f"reclaim {session.id}" not in bench.alice.told
