"""A user whose warden fails, lies or dawdles, and what that costs the others: nothing."""

import asyncio
from dataclasses import replace

import pytest

from helpers.builders import SECOND
from helpers.fakes import ALICE, BOB, Bench, leader, running
from helpers.wait import until
from manager.test_ending import pressed, told
from musterd.core.case import Mode
from musterd.core.config import Config
from musterd.core.errors import Failed
from musterd.core.session import Agent, Session
from musterd.core.spec import Spec
from musterd.core.state import Modes
from musterd.relief import RELIEFS_PER_HOUR
from musterd.warden_port import Appeared, Ending, Leftover

SECRET = "make-the-secret-thing"


async def with_bob() -> tuple[Bench, Session, Session]:
    """An idle session of alice's, and then one of bob's, with the reaper on and pressure up."""
    bench, (ours,) = await pressed()
    bench.bob.start(7)
    theirs = await bench.manager.register(BOB, Spec(pid=7, agent=Agent.CODEX, agent_session_id="t7"))
    bench.bob.parents[BOB.pid] = 7
    await bench.hooks.report_event(BOB, Agent.CODEX, "settled", {"id": "t7"})
    bench.clock.time += SECOND
    await bench.judge.evaluate(bench.manager.registry.current())
    return bench, ours, bench.manager.registry.get(theirs.id)


@pytest.mark.parametrize("way", ["says it cannot", "is gone"])
async def test_end_that_goes_wrong_disarms_the_reaper_for_that_user_alone(way: str) -> None:
    bench, ours, theirs = await with_bob()
    if way == "is gone":

        async def lose_it() -> None:
            raise Failed(SECRET)

        bench.alice.before_end = lose_it
    bench.alice.ending = Ending(is_ended=False, how="SIGKILL", left=(SECRET,))
    for _ in range(2):  # in whatever order
        await bench.reaper.relieve()
    assert bench.store.modes.disarmed_users == (1000,)
    assert [line for line in told(bench, "reaped") if ours.id not in line] == [
        f"reaped {theirs.id} 200 False"
    ]
    assert bench.reaper.mode is Mode.ON


async def test_what_everybody_may_read_of_it_holds_no_word_of_the_warden_s() -> None:
    bench, _, _ = await with_bob()
    bench.alice.ending = Ending(is_ended=False, how=SECRET, left=(SECRET,))
    await bench.reaper.relieve()
    bench.alice.failure = Failed(SECRET)
    bench.alice.start(3)
    async with running(bench):
        bench.alice.queue.put_nowait(Appeared(leader(3)))
        await until(lambda: len(bench.manager.health.reasons) == 2)
    assert "an agent of user 1000 that was found is not on the roll" in bench.manager.health.reasons
    assert SECRET not in str(bench.manager.health.reasons)
    assert SECRET not in bench.manager.modes.auto_disabled_reason


async def test_who_is_disarmed_costs_nobody_the_budget() -> None:
    bench, ours, theirs = await with_bob()
    bench.manager.modes = Modes(reaper=Mode.ON).disarmed("it went wrong", 1000)
    await bench.manager.release(BOB, theirs.id)
    await bench.reaper.relieve()
    assert [line.split()[1] for line in told(bench, "reaped")] == [ours.id]
    assert bench.judge.actions == []


def test_who_was_disarmed_stays_so() -> None:
    modes = Modes(reaper=Mode.ON).disarmed("a", 1001).disarmed("b", 1000)
    assert [modes.is_disarmed(uid) for uid in (1000, 1001, 1002)] == [True, True, False]
    assert modes.disarmed("c").is_disarmed(1002)
    assert Modes(auto_disabled_reason="by an older version").disarmed("d", 1000).is_disarmed(1002)


async def test_leftovers_without_end_do_not_keep_the_reaper_from_other_users() -> None:
    bench, _, theirs = await with_bob()
    config = bench.manager.config
    bench.manager.config = replace(config, reaper=replace(config.reaper, leftovers="end"))
    bench.alice.start(4)
    past = await bench.manager.register(ALICE, Spec(pid=4))
    bench.manager.roll.end(past, "exited")
    for rounds in (RELIEFS_PER_HOUR, 2):
        assert told(bench, "prepare") == []
        for _ in range(rounds):
            bench.alice.left = [Leftover(past.id, leader(5).process, "node", 100)]
            await bench.reaper.relieve()
    assert f"reaped {theirs.id} 200 False" in told(bench, "reaped")


async def test_warden_that_watches_nothing_holds_up_no_other_user_s_agents() -> None:
    bench = Bench(Config())
    bench.alice.start(1)
    bench.bob.start(2)

    bench.alice.before_watch = asyncio.Event().wait
    async with running(bench):
        bench.alice.queue.put_nowait(Appeared(leader(1)))
        await bench.alice.queue.join()
        bench.bob.queue.put_nowait(Appeared(leader(2, uid=1001)))
        await until(lambda: bool(bench.manager.visible(BOB)))


async def test_flood_of_agents_is_not_remembered() -> None:
    bench = Bench(Config())
    bench.alice.start(1)

    bench.alice.before_watch = asyncio.Event().wait
    async with running(bench):
        for _ in range(1000):
            bench.alice.queue.put_nowait(Appeared(leader(1)))
        await bench.alice.queue.join()
        assert bench.alice.told.count("forget 1") > 700


async def test_end_that_a_warden_does_not_go_through_with_costs_nobody_the_budget() -> None:
    bench, ours, theirs = await with_bob()
    config = bench.manager.config
    bench.manager.config = replace(config, reaper=replace(config.reaper, post_action_delay=1))
    bench.alice.ending = Ending(is_ended=False, how="kept: it says that something changed")
    for _ in range(2):
        await bench.reaper.relieve()
    assert f"end {ours.id}" in bench.alice.told
    assert told(bench, "reaped") == [f"reaped {theirs.id} 200 False"]
    assert len(bench.store.modes.actions) == 1
