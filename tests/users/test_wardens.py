"""Each user's sessions are seen by a warden of their own, started when it is needed."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from helpers.daemon import CallFailed
from helpers.system import System, system
from helpers.users import ALICE, BOB, MUSTERD, PYTHON, as_user, needs_root
from helpers.wait import until

pytestmark = needs_root


async def test_warden_is_started_when_its_user_calls(directory: Path) -> None:
    async with system(directory) as stage:
        assert stage.systemd.started == []
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            assert stage.systemd.started == [ALICE]
            assert await stage.sessions(ALICE) == [session]
            assert await stage.sessions(BOB) == []
            assert await stage.sessions(0) == [session]


async def test_daemon_and_wardens_are_no_more_than_their_users(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            await stage.register(ALICE, pid)
            assert stage.daemon.process
            assert os.stat(f"/proc/{stage.daemon.process.pid}").st_uid == MUSTERD
            assert os.stat(f"/proc/{stage.systemd.processes[ALICE].pid}").st_uid == ALICE


async def test_end_of_a_session_is_told_and_its_usage_is_measured(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            [rows] = await stage.call(ALICE, "Reaper.ListVerdicts")
            assert [(row[0], row[1], row[3] > 0) for row in rows] == [(session, "keep", True)]
        while await stage.sessions(ALICE):
            pass
        [events] = await stage.call(ALICE, "ListEvents", "utts", 1, 0, 0, session)
        assert events[0][3] == "ended"


async def test_owner_s_order_ends_a_session_through_the_warden(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            await stage.call(ALICE, "TerminateSession", "ss", session, "enough")
            assert await stage.sessions(ALICE) == []


async def test_process_of_another_user_is_not_registered(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid, pytest.raises(CallFailed, match=f"not belong to user {BOB}"):
            await stage.register(BOB, pid)
        assert await stage.sessions(0) == []


async def test_daemon_that_was_killed_finds_all_as_it_was(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid, stage.process(BOB) as other:
            session = await stage.register(ALICE, pid)
            theirs = await stage.register(BOB, other)
            await asyncio.to_thread(stage.daemon.restart, signal.SIGKILL)
            await stage.until_health()
            assert sorted(await stage.sessions(0)) == sorted([session, theirs])
        while await stage.sessions(0):
            pass  # the wardens have watched them again
        assert stage.systemd.started == [ALICE, BOB]  # and are the same: they came by themselves


async def test_daemon_that_comes_back_starts_wardens_for_the_sessions_on_its_roll(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            await asyncio.to_thread(stage.daemon.stop)
            await stage.systemd.stop()
            await asyncio.to_thread(stage.daemon.start)
            await until(lambda: stage.systemd.started == [ALICE, ALICE])
            await stage.until_health()
            assert await stage.sessions(ALICE) == [session]
        while await stage.sessions(ALICE):
            pass


async def test_warden_that_was_killed_is_started_again(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            stage.systemd.processes[ALICE].kill()
            await stage.systemd.processes[ALICE].wait()
            while stage.systemd.started != [ALICE, ALICE]:
                assert await stage.sessions(ALICE) == [session]
            await stage.until_health()
        while await stage.sessions(ALICE):
            pass


async def test_warden_that_cannot_be_started_is_told_of_and_costs_its_user_only(directory: Path) -> None:
    async with system(directory) as stage:
        stage.systemd.refuses = True
        with stage.process(ALICE) as pid, stage.process(BOB) as other:
            with pytest.raises(CallFailed, match=f"warden of user {ALICE} is down.*The unit is masked"):
                await stage.register(ALICE, pid)
            stage.systemd.refuses = False
            assert await stage.sessions(BOB) == []
            assert await stage.register(BOB, other)


async def doctor(stage: System, uid: int) -> list[str]:
    """What it says of that user's warden."""
    process = await asyncio.create_subprocess_exec(
        *as_user(uid, PYTHON, "-m", "musterd.ctl", "doctor"),
        env=stage.environ(uid),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return [line for line in output.decode().splitlines() if "warden: " in line]


async def test_doctor_tells_of_a_warden_that_cannot_be_started(directory: Path) -> None:
    async with system(directory) as stage:
        stage.systemd.refuses = True
        (line,) = await doctor(stage, ALICE)
        assert line.startswith(f"✗ warden: The warden of user {ALICE} is down: ")
        assert "The unit is masked" in line
        stage.systemd.refuses = False
        assert await doctor(stage, BOB) == ["✓ warden: yours can look after your agents"]


async def test_stopped_warden_degrades_its_own_user_and_nobody_else(directory: Path) -> None:
    async with system(directory, patience=20) as stage:
        with stage.process(ALICE) as pid, stage.process(BOB) as other:
            ours = await stage.register(ALICE, pid)
            theirs = await stage.register(BOB, other)
            stage.systemd.processes[BOB].send_signal(signal.SIGSTOP)
            waiting = [asyncio.create_task(stage.call(BOB, "Reaper.ListVerdicts")) for _ in range(5)]
            [rows] = await stage.call(ALICE, "Reaper.ListVerdicts")
            assert [row[0] for row in rows] == [ours]
            assert not all(call.done() for call in waiting)
            for call in waiting:
                assert await call == [[]]  # nothing is known of it: it is kept
            await stage.until_health(f"warden of user {BOB} does not answer")
            with pytest.raises(CallFailed, match=f"warden of user {BOB} did not answer in time"):
                await stage.register(BOB, other)
            stage.systemd.processes[BOB].send_signal(signal.SIGCONT)
            while [row[0] for row in (await stage.call(BOB, "Reaper.ListVerdicts"))[0]] != [theirs]:
                pass
            await stage.until_health()


async def test_idle_warden_leaves_and_is_started_again(directory: Path) -> None:
    async with system(directory, idle=5.0) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            warden = stage.systemd.processes[ALICE]
            await stage.call(ALICE, "ReleaseSession", "s", session)
            assert await warden.wait() == 0
            assert await stage.health() == []
            await stage.register(ALICE, pid)
            assert stage.systemd.processes[ALICE] is not warden


async def test_bus_that_was_restarted_is_found_again(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            stage.daemon.bus.restart()
            while True:
                try:
                    assert await stage.sessions(ALICE) == [session]
                    break
                except CallFailed:
                    pass  # not back yet
        while await stage.sessions(ALICE):
            pass  # their line did not go with the bus
        assert stage.systemd.started == [ALICE]
