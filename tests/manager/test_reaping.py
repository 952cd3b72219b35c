"""The reaper looks, judges and, for now, pretends."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from helpers.builders import MINUTE, SECOND, look
from helpers.fakes import ALICE, BOB, DISK_FULL, ROOT, Bench
from helpers.wait import until
from musterd.core.case import Mode, Verdict
from musterd.core.config import Config, PressureConfig, ReaperConfig
from musterd.core.errors import Failed, InvalidArgs, NotAuthorized
from musterd.core.evidence import Identity, Observation, Transcript
from musterd.core.session import Agent, Session
from musterd.core.spec import Spec

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
        await bench.manager.report_event(ALICE, Agent.CODEX, "settled", {"id": f"t{pid}"})
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
    for after, kept_by in ((0, "transcript"), (10, "transcript"), (29, "transcript"), (30, "tier")):
        bench.alice.looks[session.id] = replace(_look(session), at=bench.clock.time + after * SECOND)
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
    for at in (0, 3600):
        bench.alice.looks[session.id] = replace(_look(session), at=bench.clock.time + at * SECOND)
        explanation, _ = await bench.judge.explain(session)
    assert explanation.kept_by == "transcript"


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
    assert bench.manager.health_reasons == ["The disk is full."]


async def test_warden_that_does_not_answer_keeps_its_sessions_and_is_told_of() -> None:
    bench, sessions = await idle_sessions()
    bench.alice.failure = Failed("no answer")
    assert await bench.judge.evaluate(sessions) == []
    assert bench.manager.health_reasons == ["the warden of user 1000 does not answer: no answer"]
    bench.alice.failure = None
    await bench.judge.evaluate(sessions)
    assert bench.manager.health_reasons == []


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
    assert bench.announcer.told == ["Mode AutoDisabled AutoDisabledReason"]


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
