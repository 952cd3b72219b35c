"""Reaps, orders, natural exits and resumes meet in any order: one wins, and what is told happened."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from helpers.builders import MINUTE, SECOND
from helpers.fakes import ALICE, BOB, DISK_FULL, ROOT, Bench, FakeStore, running
from helpers.wait import until
from manager.test_reaping import EAGER, idle_sessions
from musterd.core.case import Mode
from musterd.core.errors import AccessDenied, Busy, Failed, LimitReached, NoSuchSession, NotResumable
from musterd.core.session import Session, SessionId, Source, State
from musterd.core.spec import Spec
from musterd.core.state import Modes
from musterd.ports import Record
from musterd.warden_port import Ending, Gone, Leftover


async def pressed(count: int = 1) -> tuple[Bench, list[Session]]:
    """Idle sessions of alice, looked at once, under pressure, with the reaper on."""
    bench, sessions = await idle_sessions(count)
    bench.manager.modes = Modes(reaper=Mode.ON)
    bench.gauge.press(50)
    bench.manager.pressure = bench.manager.pressure.next(await bench.gauge.queue.get(), EAGER.pressure)
    await bench.judge.evaluate(sessions)
    return bench, sessions


def told(bench: Bench, *words: str) -> list[str]:
    return [line for line in bench.announcer.told if line.startswith(words)]


async def test_idle_session_is_announced_ended_verified_and_told_of() -> None:
    bench, (session,) = await pressed()
    async with running(bench):
        await bench.reaper.relieve()
        await until(lambda: not bench.manager.visible(ALICE))
    assert told(bench, "prepare", "removed", "reaped") == [
        f"prepare {session.id}",
        f"removed {session.id} reaped",
        f"reaped {session.id} 200 False",
    ]
    assert bench.store.files[session.id].ended_reason == "reaped"
    receipt = next(record for record in bench.log.records if record.kind == "reaped")
    assert receipt.fields["resume"] == "codex resume t1"
    assert "turn: it said that its turn ended" in receipt.text
    assert "cooldown: 0 of " in receipt.text  # as judged before the end: it is no reason against itself


async def test_recipe_and_reason_are_on_disk_before_anything_is_sent() -> None:
    bench, (session,) = await pressed()
    seen: list[Session] = []

    async def look_at_disk() -> None:
        seen.append(bench.store.files[session.id])

    bench.alice.before_end = look_at_disk
    await bench.reaper.relieve()
    assert [(s.state, s.ending, s.resume_command) for s in seen] == [
        (State.STOPPING, "reaped", ("codex", "resume", "t1"))
    ]


async def test_what_changes_in_the_grace_cancels_it() -> None:
    bench, (session,) = await pressed()
    relief = asyncio.create_task(bench.reaper.relieve())
    await until(lambda: told(bench, "prepare"))
    bench.alice.parents[50] = 1
    await bench.hooks.report_event(ALICE, session.agent, "turn-start", {"id": "t1"})
    await relief
    assert told(bench, "cancelled") == [f"cancelled {session.id} turn"]
    assert f"end {session.id}" not in bench.alice.told
    assert bench.manager.registry.get(session.id).state is State.BUSY


@pytest.mark.parametrize("goes_on", [True, False])
async def test_dry_run_does_everything_but_the_end(*, goes_on: bool) -> None:
    bench, (session,) = await pressed()
    bench.manager.modes = Modes(reaper=Mode.DRY_RUN)
    relief = asyncio.create_task(bench.reaper.relieve())
    await until(lambda: "prepare" in bench.log.kinds())
    if goes_on:
        bench.alice.parents[50] = 1
        await bench.hooks.report_event(ALICE, session.agent, "turn-start", {"id": "t1"})
    await relief
    history = [kind for kind in bench.log.kinds() if kind in ("prepare", "cancelled", "would-reap")]
    assert history == ["prepare", "cancelled" if goes_on else "would-reap"]
    assert len(bench.store.modes.actions) == (0 if goes_on else 1)
    assert told(bench, "prepare", "cancelled", "reaped") == (
        [] if goes_on else [f"reaped {session.id} 200 True"]
    )
    assert f"end {session.id}" not in bench.alice.told


async def test_what_changes_at_the_last_moment_keeps_it() -> None:
    bench, (session,) = await pressed()
    bench.alice.ending = Ending(is_ended=False, how="kept: its transcript grew")
    await bench.reaper.relieve()
    after = bench.manager.registry.get(session.id)
    assert (after.state, after.ending) == (State.IDLE, "")
    assert not bench.manager.modes.auto_disabled_reason
    assert told(bench, "cancelled")


async def test_only_while_its_end_is_under_way_it_is_not_the_agent_who_tells_its_state() -> None:
    bench, (session,) = await pressed()
    told_by, written = list[Source](), list[Session]()

    async def look() -> None:
        told_by.append(bench.manager.registry.get(session.id).told_by)
        written.append(bench.store.files[session.id])

    bench.alice.before_end = look
    bench.alice.ending = Ending(is_ended=False, how="kept: its transcript grew")
    await bench.reaper.relieve()
    again = Bench(EAGER)  # the daemon died meanwhile, and the agent did not
    again.alice.start(1)
    again.store.files[session.id] = written[0]
    await again.manager.load()
    told_by += [it.manager.registry.get(session.id).told_by for it in (bench, again)]
    assert told_by == [Source.CALLER, Source.HOOK, Source.HOOK]


async def test_end_that_cannot_be_verified_disarms_the_reaper_for_good() -> None:
    bench, (session,) = await pressed()
    left = ("codex (1): in an uninterruptible sleep",)
    bench.alice.ending = Ending(is_ended=False, how="SIGKILL", left=left)
    await bench.reaper.relieve()
    after = bench.manager.registry.get(session.id)
    assert (after.state, after.is_current) == (State.FAILED, True)
    assert "uninterruptible" in after.last_error
    modes = bench.store.modes  # what is left are names of processes: not for everybody
    assert modes.auto_disabled_reason == f"session '{session.id}' of user 1000 could not be ended"
    disarmed = [record for record in bench.log.records if record.kind == "auto-disabled"]
    assert [(r.uid, "uninterruptible" in r.text) for r in disarmed] == [(1000, True)]
    assert (bench.reaper.mode, bench.judge.acting_mode(1000)) == (Mode.ON, Mode.DRY_RUN)
    assert bench.manager.health.reasons == [f"the reaper has disarmed itself: {modes.auto_disabled_reason}"]
    assert "AutoDisabled AutoDisabledReason Health HealthReasons" in bench.announcer.told
    assert not told(bench, "reaped")
    (receipt,) = [r for r in bench.log.records if r.kind in ("reaped", "end-failed")]
    assert receipt.kind == "end-failed"
    assert "could not be reaped" in receipt.text
    assert "uninterruptible" in receipt.text
    await bench.reaper.set_mode(ROOT, "on", "looked at")
    assert (bench.judge.acting_mode(1000), bench.manager.health.reasons) == (Mode.ON, [])


async def test_session_whose_reap_failed_is_left_alone_for_a_while_when_armed_again() -> None:
    bench, (session,) = await pressed()

    async def break_off() -> None:
        raise Failed("The warden is gone.")

    bench.alice.before_end = break_off
    await bench.reaper.relieve()
    await bench.reaper.set_mode(ROOT, "on", "looked at")
    bench.manager.config = replace(EAGER, reaper=replace(EAGER.reaper, post_action_delay=15))
    kept_by = []
    for _ in range(3):
        bench.clock.pass_by(MINUTE)
        kept_by.append((await bench.judge.explain(bench.manager.registry.get(session.id)))[0].kept_by)
    assert kept_by == ["cooldown", "cooldown", ""]


async def test_disarmed_reaper_ends_nothing() -> None:
    bench, _ = await pressed()
    bench.manager.modes = replace(bench.manager.modes, auto_disabled_reason="it went wrong")
    await bench.reaper.relieve()
    assert not [line for line in bench.alice.told if line.startswith("end")]


async def test_nothing_is_ended_when_the_recipe_cannot_be_written() -> None:
    bench, (session,) = await pressed()
    relief = asyncio.create_task(bench.reaper.relieve())
    await until(lambda: told(bench, "prepare"))
    bench.store.failure = DISK_FULL
    await relief
    assert f"end {session.id}" not in bench.alice.told
    assert bench.manager.modes.auto_disabled_reason


async def test_order_of_its_user_revokes_a_reap_in_its_grace() -> None:
    bench, (session,) = await pressed()
    async with running(bench):
        relief = asyncio.create_task(bench.reaper.relieve())
        await until(lambda: told(bench, "prepare"))
        await bench.ender.terminate(ALICE, session.id, "I am done")
        await relief
    assert bench.alice.told.count(f"end {session.id}") == 1
    assert bench.manager.registry.get(session.id).ended_reason == "terminated"
    assert not told(bench, "reaped")


async def test_second_order_while_the_first_is_carried_out_is_told_so() -> None:
    bench, (session,) = await pressed()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        await go_on.wait()

    bench.alice.before_end = hang
    first = asyncio.create_task(bench.ender.terminate(ALICE, session.id, "one"))
    await started.wait()
    with pytest.raises(Busy):
        await bench.ender.terminate(ALICE, session.id, "two")
    go_on.set()
    await first
    assert bench.alice.told.count(f"end {session.id}") == 1
    assert not bench.ender.is_leased(session.id)


async def test_natural_exit_in_the_grace_is_no_reap() -> None:
    bench, (session,) = await pressed()
    async with running(bench):
        relief = asyncio.create_task(bench.reaper.relieve())
        await until(lambda: told(bench, "prepare"))
        bench.alice.queue.put_nowait(Gone(session.id))
        await relief
    assert bench.manager.registry.get(session.id).ended_reason == "exited"
    assert told(bench, "removed", "reaped") == [f"removed {session.id} exited"]


async def test_daemon_that_died_while_ending_tells_what_it_was_for() -> None:
    _, (session,) = await pressed()
    stopping = replace(session, state=State.STOPPING, ending="reaped")
    again = Bench(EAGER)
    again.store.files[session.id] = stopping
    await again.manager.load()
    assert again.manager.registry.get(session.id).ended_reason == "reaped"
    alive = Bench(EAGER)
    alive.alice.start(1)
    alive.store.files[session.id] = stopping
    await alive.manager.load()
    assert (alive.manager.registry.get(session.id).state, alive.manager.registry.get(session.id).ending) == (
        State.IDLE,
        "",
    )


async def test_session_is_stopping_until_its_whole_tree_was_looked_at() -> None:
    bench, (session,) = await pressed()
    states: list[State] = []

    async def leader_goes_first() -> None:
        bench.alice.queue.put_nowait(Gone(session.id))
        await bench.alice.queue.join()
        states.append(bench.manager.registry.get(session.id).state)

    bench.alice.before_end = leader_goes_first
    bench.alice.ending = Ending(is_ended=False, how="SIGKILL", left=("node (7): in uninterruptible sleep",))
    async with running(bench):
        await bench.reaper.relieve()
    after = bench.manager.registry.get(session.id)
    assert states == [State.STOPPING]
    assert (after.state, after.ended_reason) == (State.ENDED, "reaped")
    assert "node (7)" in after.last_error
    assert bench.manager.modes.auto_disabled_reason


async def test_mode_that_is_set_while_another_change_is_written_is_not_lost() -> None:
    bench, _ = await pressed()
    async with asyncio.TaskGroup() as tasks:

        async def operator_comes() -> None:
            bench.store.before_modes = FakeStore.before_modes
            tasks.create_task(bench.reaper.set_mode(ROOT, "off", "stop it"))
            for _ in range(100):  # turns of the loop: more than an order takes that waits for nobody
                await asyncio.sleep(0)

        bench.store.before_modes = operator_comes
        tasks.create_task(bench.reaper.relieve())
    assert (bench.store.modes.reaper, len(bench.store.modes.actions)) == (Mode.OFF, 1)
    assert bench.store.modes == bench.manager.modes


async def test_reaper_that_disarms_itself_while_an_operator_arms_it_does_so_for_nobody_else() -> None:
    bench, (session,) = await pressed()
    bench.manager.modes = Modes(reaper=Mode.ON).disarmed("it went wrong", BOB.uid)
    bench.alice.ending = Ending(is_ended=False, how="SIGKILL", left=("node (7)",))
    is_writing, go_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        is_writing.set()
        await go_on.wait()

    async with asyncio.TaskGroup() as tasks:

        async def operator_comes() -> None:
            bench.store.before_modes = hang
            tasks.create_task(bench.reaper.set_mode(ROOT, "on", "looked at"))
            await is_writing.wait()

        bench.alice.before_end = operator_comes
        tasks.create_task(bench.reaper.relieve())
        await until(lambda: "auto-disabled" in bench.log.kinds())
        go_on.set()
    modes = bench.store.modes
    assert (modes.reaper, modes.disarmed_users) == (Mode.ON, (ALICE.uid,))
    assert modes.auto_disabled_reason == f"session '{session.id}' of user 1000 could not be ended"
    assert modes == bench.manager.modes


async def test_look_that_breaks_costs_a_round_and_not_the_daemon() -> None:
    bench, _ = await pressed()
    bench.alice.failure = OSError(24, "Too many open files")
    bench.manager.pressure_raised.set()
    task = asyncio.create_task(bench.reaper.run())
    await until(lambda: bench.manager.health.reasons)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_end_that_was_told_of_before_a_crash_is_not_told_of_again() -> None:
    _, (session,) = await pressed()
    again = Bench(EAGER)
    again.store.files[session.id] = replace(session, state=State.STOPPING, ending="reaped")
    again.log.records = [Record(session.created_usec + SECOND, "ended", session.id, 1000, "reaped")]
    await again.manager.load()
    assert again.manager.registry.get(session.id).ended_reason == "reaped"
    assert again.log.kinds() == ["ended"]


async def test_delay_inhibitor_holds_it_up_and_not_for_ever() -> None:
    bench, (session,) = await pressed()
    bench.manager.config = replace(EAGER, reaper=replace(EAGER.reaper, inhibit_delay_max=0.05))
    await bench.inhibiting.inhibit(ALICE, "reap", "editor", "saving", "delay", session.id)
    async with running(bench):
        await bench.reaper.relieve()
    assert bench.manager.registry.get(session.id).ended_reason == "reaped"


async def test_leftovers_are_reported_once_and_ended_where_asked() -> None:
    bench, (session,) = await pressed()
    bench.manager.roll.end(session, "exited")
    assert session.leader
    bench.alice.left = [Leftover(session.id, session.leader, "node", 7)]
    await bench.reaper.relieve()
    await bench.reaper.relieve()
    assert bench.log.kinds().count("leftover") == 1
    bench.manager.config = replace(EAGER, reaper=replace(EAGER.reaper, leftovers="end"))
    await bench.reaper.relieve()
    assert bench.alice.told[-1] == "end 1 leftovers"


async def test_only_its_user_ends_a_session() -> None:
    bench, (session,) = await pressed()
    with pytest.raises(AccessDenied):
        await bench.ender.terminate(BOB, session.id, "mine")
    bench.alice.ending = Ending(is_ended=False, how="SIGKILL", left=("codex (1): stopped",))
    with pytest.raises(Failed, match="stopped"):
        await bench.ender.terminate(ALICE, session.id, "go")
    assert (bench.log.records[-1].kind, "terminated" in bench.log.kinds()) == ("end-failed", False)


async def ended(bench: Bench, session: Session) -> Session:
    bench.manager.roll.end(bench.manager.registry.get(session.id), "reaped")
    return bench.manager.registry.get(session.id)


async def test_resumed_session_has_its_old_id_and_is_young() -> None:
    bench, (session,) = await pressed()
    await ended(bench, session)
    async with running(bench):
        revived = await bench.reviver.resume(ALICE, session.id)
    assert (revived.id, revived.is_current, revived.resumed_usec) == (session.id, True, bench.clock.now())
    assert revived.turn.settled == 0
    assert bench.store.files[session.id].is_current
    with pytest.raises(NotResumable, match="has not ended"):
        await bench.reviver.resume(ALICE, session.id)


async def test_conversation_that_is_open_elsewhere_is_not_resumed() -> None:
    bench, (session,) = await pressed()
    await ended(bench, session)
    bench.alice.start(7)
    await bench.manager.register(ALICE, Spec(pid=7, agent=session.agent, agent_session_id="t1"))
    with pytest.raises(NotResumable, match="open already"):
        await bench.reviver.resume(ALICE, session.id)
    assert not [line for line in bench.alice.told if line.startswith("resume")]


async def test_three_resumes_a_day_are_enough() -> None:
    bench, (session,) = await pressed()
    async with running(bench):
        for _ in range(3):
            await ended(bench, session)
            await bench.reviver.resume(ALICE, session.id)
            bench.clock.time += MINUTE
        await ended(bench, session)
        with pytest.raises(LimitReached, match="3 times in a day"):
            await bench.reviver.resume(ALICE, session.id)
        bench.clock.time += 24 * 60 * MINUTE + SECOND
        await bench.reviver.resume(ALICE, session.id)


async def test_who_was_asked_may_resume_it_once_more_and_that_counts() -> None:
    bench, (session,) = await pressed()
    async with running(bench):
        for number in range(5):
            await ended(bench, session)
            await bench.reviver.resume(ALICE, session.id, is_asked=number > 2)
            bench.clock.time += MINUTE
        await ended(bench, session)
        with pytest.raises(LimitReached):
            await bench.reviver.resume(ALICE, session.id)
    assert len(bench.manager.registry.get(session.id).resumes) == 3


async def test_resume_that_cannot_start_leaves_it_ended() -> None:
    bench, (session,) = await pressed()
    await ended(bench, session)
    bench.alice.failure = NotResumable("its directory is gone")
    with pytest.raises(NotResumable):
        await bench.reviver.resume(ALICE, session.id)
    assert not bench.manager.registry.get(session.id).is_current


async def test_only_what_was_started_counts_as_resumed() -> None:
    bench, (session,) = await pressed()
    await ended(bench, session)
    for _ in range(5):
        bench.alice.failure = NotResumable("its directory is gone")
        with pytest.raises(NotResumable, match="its directory"):
            await bench.reviver.resume(ALICE, session.id)
    await bench.manager.flush()
    assert bench.store.files[session.id].resumes == ()
    bench.alice.failure = None
    async with running(bench):
        revived = await bench.reviver.resume(ALICE, session.id)
    assert revived.resumes == bench.store.files[session.id].resumes == (bench.clock.now(),)


async def test_a_resume_is_counted_before_it_is_started() -> None:
    """Who kills the daemon at each resume gains nothing."""
    bench, (session,) = await pressed()
    await ended(bench, session)
    seen: list[tuple[int, ...]] = []

    async def look(session: Session) -> None:
        seen.append(bench.store.files[session.id].resumes)
        raise NotResumable("enough")

    bench.alice.resume = look  # type: ignore[method-assign]
    with pytest.raises(NotResumable):
        await bench.reviver.resume(ALICE, session.id)
    assert seen == [(bench.clock.now(),)]


async def test_one_conversation_of_two_ended_sessions_is_resumed_once() -> None:
    bench, (session,) = await pressed()
    await ended(bench, session)
    double = replace(bench.manager.registry.get(session.id), id=SessionId("double"))
    bench.manager.registry.put(double)
    async with running(bench):
        revived = asyncio.create_task(bench.reviver.resume(ALICE, session.id))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="being resumed already"):
            await bench.reviver.resume(ALICE, double.id)
        await revived
        with pytest.raises(NotResumable, match="open already"):
            await bench.reviver.resume(ALICE, double.id)


async def test_one_that_is_brought_back_and_registers_while_it_is_found_is_revived_once() -> None:
    bench, (session,) = await pressed()
    await ended(bench, session)
    bench.alice.start(7)
    bench.alice.leaders[7] = replace(bench.alice.leaders[7], mark=session.id)
    both = await asyncio.gather(*(bench.manager.register(ALICE, Spec(pid=7)) for _ in range(3)))
    assert {again.id for again in both} == {session.id}
    assert bench.log.kinds().count("resumed") == 1
    assert bench.alice.told[-1] == f"watch {session.id}"


async def test_mark_of_another_users_or_a_live_session_revives_nothing() -> None:
    bench, (session,) = await pressed()
    bench.alice.start(7)
    bench.alice.leaders[7] = replace(bench.alice.leaders[7], mark=session.id)
    other = await bench.manager.register(ALICE, Spec(pid=7))
    assert other.id != session.id


async def test_unknown_session_cannot_be_ended_or_resumed() -> None:
    bench = Bench()
    with pytest.raises(NoSuchSession):
        await bench.ender.terminate(ALICE, "nobody", "go")
    with pytest.raises(NoSuchSession):
        await bench.reviver.resume(ALICE, "nobody")
