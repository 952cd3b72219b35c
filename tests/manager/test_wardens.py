"""Wardens come late, are lost and come again; only their own users notice."""

import asyncio
from dataclasses import replace

from helpers.fakes import ALICE, BOB, Bench, FakeWarden, leader, running
from helpers.virtual_time import run_in_virtual_time
from helpers.wait import until
from musterd.core.errors import Failed
from musterd.core.session import Session, State
from musterd.core.spec import Spec


async def loaded(*pids: int, ending: str = "") -> tuple[Bench, list[Session]]:
    """A manager that was started again while no warden is there, and what it had on its roll."""
    before = Bench()
    before.alice.start(*pids)
    sessions = [await before.manager.register(ALICE, Spec(pid=pid)) for pid in pids]
    bench = Bench()
    bench.store.files = {s.id: replace(s, ending=ending) for s in sessions}
    bench.wardens.here.clear()
    bench.wardens.arrived = asyncio.Queue()
    bench.alice.start(*pids)
    await bench.manager.load()
    return bench, sessions


async def test_sessions_stay_on_the_roll_until_their_warden_comes_and_are_watched_then() -> None:
    bench, [session] = await loaded(1)
    async with running(bench):
        await until(lambda: bench.wardens.asked == [1000])
        assert bench.manager.registry.get(session.id).is_current
        assert [r for r in bench.manager.health.reasons if "warden of user 1000 is down" in r]
        bench.wardens.arrive(bench.alice)
        await until(lambda: bench.alice.told == [f"watch {session.id}"])
        assert bench.manager.health.reasons == []


async def test_what_ended_while_there_was_no_warden_is_found_out_when_it_comes() -> None:
    bench, [session] = await loaded(1)
    bench.alice.leaders.clear()
    async with running(bench):
        bench.wardens.arrive(bench.alice)
        await until(lambda: not bench.manager.registry.get(session.id).is_current)
        assert bench.manager.registry.get(session.id).ended_reason == "gone-while-away"


async def test_an_end_that_was_interrupted_is_judged_anew_when_the_warden_comes() -> None:
    bench, [session] = await loaded(1, ending="reaped")
    async with running(bench):
        bench.wardens.arrive(bench.alice)
        await until(lambda: bench.manager.registry.get(session.id).ending == "")


async def test_lost_warden_is_asked_for_again_and_watches_all_anew() -> None:
    bench = Bench()
    bench.alice.start(1)
    async with running(bench):
        session = await bench.manager.register(ALICE, Spec(pid=1))
        bench.wardens.lose(bench.alice)
        await until(lambda: bench.manager.health.reasons == ["the warden of user 1000 is down"])
        successor = FakeWarden(1000)
        successor.start(1)
        bench.wardens.arrive(successor)
        await until(lambda: successor.told == [f"watch {session.id}"])
        assert bench.manager.health.reasons == []


async def test_a_session_that_is_being_ended_is_left_to_whoever_ends_it() -> None:
    bench = Bench()
    bench.alice.start(1)
    async with running(bench):
        session = await bench.manager.register(ALICE, Spec(pid=1))
        bench.manager.roll.change(session, replace(session, state=State.STOPPING, ending="terminated"))
        bench.wardens.lose(bench.alice)
        bench.wardens.arrive(FakeWarden(1000))
        await until(lambda: session.id in bench.manager.roll.gone)
        assert bench.manager.registry.get(session.id).is_current


def test_warden_that_cannot_be_had_is_asked_for_ever_more_seldom() -> None:
    async def an_hour() -> int:
        bench, _ = await loaded(1)
        async with running(bench):
            await asyncio.sleep(3600)
            return len(bench.wardens.asked)

    assert 60 <= run_in_virtual_time(an_hour()) <= 65


async def test_user_without_sessions_needs_no_warden() -> None:
    bench = Bench()
    bench.alice.start(1)
    async with running(bench):
        session = await bench.manager.register(ALICE, Spec(pid=1))
        await bench.manager.release(ALICE, session.id)
        bench.wardens.lose(bench.alice)
        await until(lambda: 1000 not in bench.wardens.here)
        await bench.manager.flush()
        assert bench.manager.health.reasons == []


async def test_sessions_of_others_are_judged_while_one_warden_does_not_answer() -> None:
    bench = Bench()
    bench.alice.start(1)
    bench.bob.leaders[2] = leader(2, uid=1001)
    theirs = await bench.manager.register(ALICE, Spec(pid=1))
    ours = await bench.manager.register(BOB, Spec(pid=2))
    bench.alice.failure = Failed("time-out")
    judged = await bench.judge.evaluate([theirs, ours])
    assert [case.session.id for case, _ in judged] == [ours.id]
    assert bench.manager.health.reasons == ["the warden of user 1000 does not answer"]
