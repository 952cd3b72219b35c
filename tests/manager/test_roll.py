"""Sessions come, speak and go: each flow, and what is undone when a step of it fails."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from helpers.builders import BOOT, LEADER, MINUTE, NOW, SECOND, session
from helpers.fakes import ALICE, BOB, DISK_FULL, ROOT, Bench, leader, running
from helpers.virtual_time import run_in_virtual_time
from helpers.wait import until
from musterd.core.config import Config, EventsConfig, LimitsConfig
from musterd.core.errors import (
    AccessDenied,
    Failed,
    InvalidArgs,
    LimitReached,
    NoSuchSession,
)
from musterd.core.event import AgentEvent, EventKind
from musterd.core.session import Agent, Session, SessionId, Source, State
from musterd.core.spec import Spec
from musterd.keeper import SAVE_DELAY
from musterd.warden_port import Appeared, Gone, Said


def started(*pids: int, config: Config | None = None) -> Bench:
    bench = Bench(config)
    bench.alice.start(*pids)
    return bench


async def test_session_is_watched_and_on_disk_before_the_caller_is_told() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1, agent=Agent.CODEX, title="t"))
    assert bench.alice.told == [f"watch {session.id}"]
    assert bench.store.files[session.id] == session
    assert bench.announcer.told == [f"new {session.id}"]
    assert (session.uid, session.cwd, session.title, session.version) == (1000, "/work/1", "t", "1.0")


async def test_registering_again_updates_and_keeps_the_id() -> None:
    bench = started(1)
    first = await bench.manager.register(ALICE, Spec(pid=1))
    second = await bench.manager.register(ALICE, Spec(pid=1, title="release", agent_session_id="t1"))
    assert (second.id, second.title, second.resume_command) == (
        first.id,
        "release",
        ("codex", "resume", "t1"),
    )
    assert bench.store.files == {first.id: second}


async def test_registering_twice_at_once_makes_one_session() -> None:
    bench = started(1)
    both = await asyncio.gather(*(bench.manager.register(ALICE, Spec(pid=1)) for _ in range(5)))
    assert len({session.id for session in both}) == 1
    assert len(bench.manager.registry) == len(bench.store.files) == 1


async def test_one_that_is_found_while_it_is_registered_is_on_the_roll_once() -> None:
    bench = started(1)
    async with running(bench):
        bench.alice.queue.put_nowait(Appeared(leader(1)))
        session = await bench.manager.register(ALICE, Spec(pid=1, title="t"))
        await until(lambda: bench.alice.queue.empty() and not bench.manager.health.reasons)
    assert [(s.id, s.title) for s in bench.manager.visible(ALICE)] == [(session.id, "t")]
    assert list(bench.store.files) == [session.id]


async def test_what_is_asked_of_one_that_is_being_written_does_not_undo_it() -> None:
    bench = started(1)
    registering = asyncio.create_task(bench.manager.register(ALICE, Spec(pid=1)))
    await until(bench.manager.registry.current)
    (seen,) = bench.manager.registry.current()
    await bench.manager.protect(ALICE, seen.id, protected=True)
    assert (await registering).id == seen.id
    assert bench.store.files[seen.id].protected


@pytest.mark.parametrize("part", ["warden", "store"])
async def test_nothing_is_left_of_a_registration_that_failed(part: str) -> None:
    bench = started(1)
    (bench.alice if part == "warden" else bench.store).failure = DISK_FULL
    with pytest.raises(Failed):
        await bench.manager.register(ALICE, Spec(pid=1))
    assert (len(bench.manager.registry), bench.store.files, bench.announcer.told) == (0, {}, [])


async def test_pid_that_is_nobodys_or_another_users_is_refused() -> None:
    bench = started(1)
    bench.alice.leaders[2] = leader(2, uid=1001)
    with pytest.raises(NoSuchSession):
        await bench.manager.register(ALICE, Spec(pid=99))
    with pytest.raises(AccessDenied):
        await bench.manager.register(ALICE, Spec(pid=2))


async def test_user_without_a_warden_is_told() -> None:
    with pytest.raises(Failed, match="user 0"):
        await Bench().manager.register(ROOT, Spec(pid=1))


async def test_one_more_than_the_limit_is_refused() -> None:
    bench = started(1, 2, config=Config(limits=LimitsConfig(sessions_per_user=1)))
    await bench.manager.register(ALICE, Spec(pid=1))
    with pytest.raises(LimitReached):
        await bench.manager.register(ALICE, Spec(pid=2))


async def test_hook_finds_the_session_of_its_agent_or_makes_it() -> None:
    bench = started(1)
    bench.alice.parents[50] = 1
    assert await bench.hooks.report_event(ALICE, Agent.CODEX, "turn-start", {"id": "t1"}) == (False, "{}")
    (session,) = bench.manager.visible(ALICE)
    assert (session.state, session.state_source, session.agent_session_id) == (State.BUSY, Source.HOOK, "t1")
    await bench.hooks.report_event(ALICE, Agent.CODEX, "settled", {"id": "t1"})
    assert [s.state for s in bench.manager.visible(ALICE)] == [State.BUSY]  # at the same instant, work wins
    bench.clock.time += SECOND
    await bench.hooks.report_event(ALICE, Agent.CODEX, "settled", {"id": "t1"})
    assert [s.state for s in bench.manager.visible(ALICE)] == [State.IDLE]


TOLD = AgentEvent(EventKind.NOTE, NOW, agent_session_id="t1", transcript="/t1.jsonl")


async def hear_of_it(bench: Bench) -> None:
    (found,) = bench.manager.registry.current()
    await bench.manager.roll.hear(found.id, TOLD, Source.HOOK)


def places(*sessions: Session) -> set[tuple[str, str]]:
    return {(session.agent_session_id, session.transcript) for session in sessions}


async def test_what_a_hook_tells_of_one_whose_file_is_written_is_where_it_is_watched() -> None:
    bench = started(1)
    async with bench.store.queue:
        registering = asyncio.create_task(bench.manager.register(ALICE, Spec(pid=1)))
        await until(bench.manager.registry.current)
        await hear_of_it(bench)
    session = await registering
    assert places(session, bench.alice.watched[session.id]) == {("t1", "/t1.jsonl")}


async def test_what_a_hook_tells_of_one_that_begins_to_be_watched_is_where_it_is_watched() -> None:
    """The hook's word reaches the warden first."""
    bench = started(1)

    async def overtaken() -> None:
        bench.alice.before_watch = lambda: asyncio.sleep(0)
        await hear_of_it(bench)

    bench.alice.before_watch = overtaken
    session = await bench.manager.register(ALICE, Spec(pid=1))
    assert places(session, bench.alice.watched[session.id]) == {("t1", "/t1.jsonl")}


async def test_hook_of_an_agent_registered_by_hand_is_heard() -> None:
    bench = started(1)
    bench.alice.by_hand = {1}
    bench.alice.parents[50] = 1
    session = await bench.manager.register(ALICE, Spec(pid=1, agent=Agent.CODEX))
    await bench.hooks.report_event(ALICE, Agent.CODEX, "turn-start", {"id": "t1"})
    assert bench.manager.registry.get(session.id).agent_session_id == "t1"
    assert len(bench.manager.registry) == 1


async def test_hook_of_no_agent_makes_no_session() -> None:
    bench = started(1)
    bench.alice.by_hand = {1}
    bench.alice.parents[50] = 1
    await bench.manager.register(ALICE, Spec(pid=1, agent=Agent.PI))
    with pytest.raises(NoSuchSession):
        await bench.hooks.report_event(ALICE, Agent.CODEX, "turn-start", {})
    assert len(bench.manager.registry) == 1


async def test_event_that_makes_no_sense_is_refused_and_changes_nothing() -> None:
    bench = started(50)
    with pytest.raises(InvalidArgs, match="codex event 'dance'"):
        await bench.hooks.report_event(ALICE, Agent.CODEX, "dance", {})
    assert len(bench.manager.registry) == 0


async def test_discovered_session_is_adopted_by_its_hook_without_a_duplicate() -> None:
    bench = started(1)
    bench.alice.parents[50] = 1
    async with running(bench):
        bench.alice.queue.put_nowait(Appeared(leader(1)))
        await bench.alice.queue.join()
        await bench.hooks.report_event(ALICE, Agent.CODEX, "session-start", {})
        await until(lambda: any(told.startswith("new") for told in bench.announcer.told))
    assert len(bench.manager.registry) == 1


async def test_discovered_session_that_cannot_be_taken_is_to_be_told_of_again() -> None:
    bench = started(1)
    bench.alice.failure = Failed("no space left")
    async with running(bench):
        bench.alice.queue.put_nowait(Appeared(leader(1)))
        await until(lambda: "forget 1" in bench.alice.told)
    assert len(bench.manager.registry) == 0


async def test_discovered_agent_that_cannot_be_taken_is_told_of_once_and_tried_again() -> None:
    bench = started(1, 2, config=Config(limits=LimitsConfig(sessions_per_user=1)))
    first = await bench.manager.register(ALICE, Spec(pid=1))
    async with running(bench):
        for _ in range(3):
            bench.alice.queue.put_nowait(Appeared(leader(2)))
        await until(lambda: bench.alice.told.count("forget 2") == 3)
        assert bench.log.kinds().count("degraded") == 1
        await bench.manager.release(ALICE, first.id)
        bench.alice.queue.put_nowait(Appeared(leader(2)))
        await until(lambda: not bench.manager.health.reasons)
    assert [s.leader.pid for s in bench.manager.visible(ALICE) if s.leader] == [2]


async def test_what_a_warden_says_of_another_user_is_not_believed() -> None:
    bench = started(1)
    async with running(bench):
        bench.alice.queue.put_nowait(Appeared(leader(7, uid=1001)))
        await bench.alice.queue.join()
    assert len(bench.manager.registry) == 0


async def test_leader_ends_and_the_session_leaves_the_roll() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1, agent_session_id="t1"))
    async with running(bench):
        bench.alice.queue.put_nowait(Gone(session.id))
        await bench.alice.queue.join()
        await asyncio.sleep(0)
        assert bench.manager.visible(ALICE) == []
    (past,) = bench.manager.visible(ALICE, past=True)
    assert (past.state, past.ended_reason, past.is_resumable) == (State.ENDED, "exited", True)
    assert bench.store.files[session.id].state is State.ENDED
    assert bench.announcer.told[-1] == f"removed {session.id} exited"


async def test_session_that_ends_while_it_is_written_is_announced_and_removed() -> None:
    bench = started(1)
    async with running(bench):
        task = asyncio.create_task(bench.manager.register(ALICE, Spec(pid=1)))
        await until(bench.manager.registry.current)
        (session,) = bench.manager.registry.current()
        bench.alice.queue.put_nowait(Gone(session.id))
        await task
        await bench.alice.queue.join()
        assert bench.announcer.told == [f"new {session.id}", f"removed {session.id} exited"]


async def test_transcript_says_that_it_works() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1, agent_session_id="t1"))
    async with running(bench):
        said = AgentEvent(EventKind.TURN_START, bench.clock.now(), agent_session_id="t1")
        bench.alice.queue.put_nowait(Said(session.id, said, Source.TRANSCRIPT))
        await bench.alice.queue.join()
        assert bench.manager.registry.get(session.id).state_source is Source.TRANSCRIPT


async def test_released_session_is_gone_from_roll_and_disk() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    await bench.manager.release(ALICE, session.id)
    assert (len(bench.manager.registry), bench.store.files) == (0, {})
    assert bench.announcer.told[-1] == f"removed {session.id} released"


async def test_released_session_does_not_come_back_by_what_was_asked_with_it() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    outcomes = await asyncio.gather(
        bench.manager.protect(ALICE, session.id, protected=True),
        bench.manager.register(ALICE, Spec(pid=1, title="again")),
        bench.manager.release(ALICE, session.id),
        return_exceptions=True,
    )
    await bench.manager.flush()
    assert any(isinstance(outcome, NoSuchSession) for outcome in outcomes)
    assert session.id not in bench.store.files


async def test_release_that_cannot_be_written_is_told_and_can_be_repeated() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    bench.store.remove_failure = DISK_FULL
    with pytest.raises(Failed):
        await bench.manager.release(ALICE, session.id)
    bench.store.remove_failure = None
    await bench.manager.release(ALICE, session.id)
    assert bench.store.files == {}


async def test_two_files_about_one_leader_make_one_session() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    again = started(1)
    again.store.files = {session.id: session, "double": replace(session, id=SessionId("double"))}
    await again.manager.load()
    assert len(again.manager.registry.current()) == 1


async def test_other_users_see_and_touch_nothing() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    manager = bench.manager
    assert manager.visible(BOB) == []
    for attempt in (
        manager.session(BOB, session.id),
        manager.release(BOB, session.id),
        manager.protect(BOB, session.id, protected=True),
        bench.inhibiting.inhibit(BOB, "reap", "bob", "mine", "block", session.id),
    ):
        with pytest.raises(AccessDenied):
            await attempt
    assert [s.id for s in manager.visible(ROOT)] == [session.id]


async def test_descendant_of_a_leader_resolves_to_its_session() -> None:
    bench = started(1)
    bench.alice.parents[50] = 1
    session = await bench.manager.register(ALICE, Spec(pid=1))
    assert await bench.manager.by_pid(ALICE, 0) == session
    with pytest.raises(NoSuchSession):
        await bench.manager.by_pid(ALICE, 77)


async def test_conversation_finds_its_session() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1, agent_session_id="t1"))
    assert (await bench.manager.by_agent_session(ALICE, Agent.CODEX, "t1")).id == session.id
    for agent, name in ((Agent.CODEX, "t2"), (Agent.PI, "t1"), (Agent.CODEX, "")):
        with pytest.raises(NoSuchSession):
            await bench.manager.by_agent_session(ALICE, agent, name)


async def test_inhibitors_are_counted_and_limited() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    held = [
        await bench.inhibiting.inhibit(ALICE, "reap:stop", "vim", "w", "block", session.id)
        for _ in range(32)
    ]
    with pytest.raises(LimitReached):
        await bench.inhibiting.inhibit(ALICE, "reap", "vim", "w", "block", session.id)
    bench.manager.inhibitors.give_back(held[0].number)
    bench.manager.inhibitors.give_back(held[0].number)
    assert len(bench.inhibiting.visible(ALICE)) == 31
    assert bench.inhibiting.visible(BOB) == []


async def test_inhibitor_is_one_though_nothing_can_be_written_of_it() -> None:
    bench = Bench()
    taken = await bench.inhibiting.inhibit(ALICE, "reap", "vim", "w", "block", "")
    assert await bench.inhibiting.pipe_of(taken) is None
    assert bench.inhibiting.visible(ALICE) == [taken]


@pytest.mark.parametrize(("what", "mode"), [("nap", "block"), ("reap", "perhaps"), ("", "block")])
async def test_inhibitor_that_makes_no_sense_is_refused(what: str, mode: str) -> None:
    with pytest.raises(InvalidArgs):
        await Bench().inhibiting.inhibit(ALICE, what, "vim", "w", mode, "")


async def test_restart_takes_up_who_lives_and_ends_who_is_gone() -> None:
    bench = started(1, 2)
    one = await bench.manager.register(ALICE, Spec(pid=1))
    two = await bench.manager.register(ALICE, Spec(pid=2))
    again = started(1)
    again.store.files = bench.store.files
    await again.manager.load()
    assert [s.id for s in again.manager.registry.current()] == [one.id]
    assert [(s.id, s.ended_reason) for s in again.manager.registry.past()] == [(two.id, "gone-while-away")]


@pytest.mark.parametrize(
    ("boot", "ending", "reason"),
    [
        (BOOT, "", "gone-while-away"),
        ("another", "", "reboot"),
        ("another", "terminated", "terminated"),
        ("another", "reaped", "reaped"),
    ],
)
async def test_what_ended_while_nobody_looked_is_told_by_what_is_known(
    boot: str, ending: str, reason: str
) -> None:
    bench = started()
    gone = session(leader=replace(LEADER, boot_id=boot), ending=ending)
    bench.store.files[gone.id] = gone
    await bench.manager.load()
    assert [past.ended_reason for past in bench.manager.registry.past()] == [reason]


async def test_how_long_ended_sessions_are_remembered_follows_the_configuration() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    bench.manager.roll.end(session, "exited")
    bench.clock.time += 2 * MINUTE
    await bench.manager.flush()
    assert session.id in bench.store.files
    bench.manager.config = Config(events=EventsConfig(keep=60))
    await bench.manager.flush()
    assert session.id not in bench.store.files


async def test_quarantined_file_is_told_of() -> None:
    bench = Bench()
    bench.store.quarantined["sessions/x.toml"] = "not TOML"
    await bench.manager.load()
    assert any("sessions/x.toml" in reason for reason in bench.manager.health.reasons)
    assert bench.log.kinds() == ["quarantined", "degraded"]


async def test_remote_session_lives_by_its_heartbeat() -> None:
    bench = Bench()
    spec = Spec(agent=Agent.PI, host="build7", cwd="/w")
    session = await bench.remote.register(ALICE, spec)
    assert session.leader is None
    await bench.remote.heartbeat(ALICE, session.id)
    assert (await bench.remote.register(ALICE, spec)).id == session.id
    bench.clock.time += 2 * MINUTE
    bench.remote.sweep()
    assert bench.manager.registry.get(session.id).state is State.OFFLINE
    replacement = await bench.remote.register(ALICE, replace(spec, agent_session_id="new"))
    assert [s.id for s in bench.manager.registry.current()] == [replacement.id]
    bench.clock.time += 3 * MINUTE
    bench.remote.sweep()
    assert bench.manager.registry.current() == []


@pytest.mark.parametrize("back", [False, True], ids=["forward, and suspended", "back"])
async def test_remote_session_is_silent_only_while_it_could_be_heard(back: bool) -> None:
    bench = Bench()
    session = await bench.remote.register(ALICE, Spec(agent=Agent.PI, host="build7", cwd="/w"))
    if back:
        bench.clock.set(-60 * MINUTE)
    else:
        bench.clock.suspend(60 * MINUTE)
        bench.clock.set(60 * MINUTE)
    bench.clock.time += MINUTE
    bench.remote.sweep()
    assert bench.manager.registry.get(session.id).state is not State.OFFLINE
    bench.clock.time += 3 * MINUTE
    bench.remote.sweep()
    assert bench.manager.registry.current() == []


async def test_heartbeat_of_a_local_session_is_refused() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    with pytest.raises(InvalidArgs, match="process 1 is watched"):
        await bench.remote.heartbeat(ALICE, session.id)


async def test_a_disk_that_fails_is_told_of_and_written_to_again() -> None:
    bench = started(1)
    session = await bench.manager.register(ALICE, Spec(pid=1))
    async with running(bench):
        bench.store.failure = DISK_FULL
        bench.alice.queue.put_nowait(Gone(session.id))
        await bench.alice.queue.join()
        await asyncio.sleep(0)
        await bench.manager.flush()
        assert bench.manager.health.reasons == ["The disk is full."]
        bench.store.failure = None
        await bench.manager.flush()
    assert bench.manager.health.reasons == []
    assert bench.store.files[session.id].state is State.ENDED


async def test_no_more_than_a_hundred_past_sessions_of_a_user_are_kept() -> None:
    bench = started(*range(1, 121))
    for pid in range(1, 121):
        session = await bench.manager.register(ALICE, Spec(pid=pid))
        bench.clock.time += SECOND
        bench.manager.roll.end(session, "exited")
    bench.store.written.clear()
    await bench.manager.flush()
    assert len(bench.manager.visible(ALICE, past=True)) == len(bench.store.files) == 100
    assert sorted(bench.store.written) == sorted(bench.store.files)  # and no other: a stop is short


def test_what_waited_to_be_written_when_the_manager_stopped_is_on_disk() -> None:
    """Also what waited behind something else that is written."""

    async def story() -> tuple[Session, Session]:
        bench = started(1)
        session = await bench.manager.register(ALICE, Spec(pid=1))
        serving = asyncio.create_task(bench.manager.run())
        await bench.manager.roll.hear(session.id, AgentEvent(EventKind.TURN_START, NOW), Source.HOOK)
        async with bench.store.queue:
            await asyncio.sleep(2 * SAVE_DELAY)
            serving.cancel()
            await asyncio.sleep(SAVE_DELAY)
        with suppress(asyncio.CancelledError):
            await serving
        return bench.store.files[session.id], bench.manager.registry.get(session.id)

    on_disk, last = run_in_virtual_time(story())
    assert on_disk == last
    assert on_disk.state is State.BUSY
