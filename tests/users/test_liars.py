"""A warden is believed about its own user, and only as long as it makes sense."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.daemon import CallFailed
from helpers.liar import Liar, liar
from helpers.processes import open_files
from helpers.system import System, system
from helpers.users import ALICE, BOB, needs_root
from musterd import __version__
from musterd.core.session import Agent
from musterd.host.process import HeldProcess, read_facts
from musterd.warden.line import FRAME, WINDOW
from musterd.warden.wire import pack
from musterd.warden_port import Leader

pytestmark = needs_root


@asynccontextmanager
async def pair(directory: Path) -> AsyncIterator[tuple[System, Liar, str, int]]:
    """Alice has a session, and an honest warden; Bob's warden is by hand. -> also her session and its pid"""
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            async with liar(stage, BOB) as by_hand:
                await by_hand.greet()
                yield stage, by_hand, session, pid
                assert await stage.sessions(ALICE) == [session]
                [rows] = await stage.call(ALICE, "Reaper.ListVerdicts")
                assert [row[0] for row in rows] == [session]


def told(pid: int, uid: int) -> object:
    """A leader as a warden would tell of it."""
    with HeldProcess(pid) as held:
        return pack(Leader(held.ref, read_facts(pid), Agent.OTHER)) | {
            "facts": pack(read_facts(pid)) | {"uid": uid}
        }


async def bobs(stage: System, by_hand: Liar, pid: int) -> str:
    """The warden by hand has a session of Bob's watched -> its id."""
    call = asyncio.create_task(stage.register(BOB, pid))
    by_hand.say(done=await by_hand.asked("leader"), value=told(pid, BOB))
    by_hand.say(done=await by_hand.asked("watch"), value=None)
    return await call


async def test_process_that_systemd_did_not_start_is_no_warden(directory: Path) -> None:
    async with system(directory) as stage, liar(stage, BOB, unit_of=ALICE) as other:
        assert "AccessDenied" in await other.attach()
        stage.systemd.blessed.clear()
        async with liar(stage, BOB) as imposter:
            stage.systemd.blessed[imposter.pid] = -1
            assert "AccessDenied" in await imposter.attach()
        stage.systemd.blessed[other.pid] = ALICE


async def test_process_of_another_user_is_not_believed_to_be_one_s_own(directory: Path) -> None:
    async with pair(directory) as (stage, by_hand, session, pid):
        call = asyncio.create_task(stage.register(BOB, pid))
        by_hand.say(done=await by_hand.asked("leader"), value=told(pid, BOB))
        with pytest.raises(CallFailed, match=f"warden of user {BOB} cannot be believed: .* of user {ALICE}"):
            await call
        await by_hand.dropped()
        assert await stage.sessions(0) == [session]


async def test_process_that_appears_and_is_another_user_s_ends_the_line(directory: Path) -> None:
    async with pair(directory) as (stage, by_hand, session, pid):
        by_hand.say(event={"@": "Appeared", "leader": told(pid, BOB)})
        await by_hand.dropped()
        assert await stage.sessions(0) == [session]


async def test_end_of_another_user_s_session_is_not_believed(directory: Path) -> None:
    async with pair(directory) as (stage, by_hand, session, _):
        by_hand.say(event={"@": "Gone", "session": session})
        await by_hand.dropped()
        assert f"says what cannot be: session '{session}' is none of its user's" in stage.daemon.log


async def test_who_cannot_be_believed_is_not_asked_for_a_while(directory: Path) -> None:
    async with pair(directory) as (stage, by_hand, _, _):
        with stage.process(BOB) as pid:
            session = await bobs(stage, by_hand, pid)
            by_hand.say(event="nonsense")
            await by_hand.dropped()
            await stage.until_health(f"warden of user {BOB} is down: ")
            assert await stage.sessions(BOB) == [session]
            with pytest.raises(CallFailed, match="it says what cannot be"):
                await stage.register(BOB, pid)
            async with liar(stage, BOB) as again:
                assert "it says what cannot be" in await again.attach()


@pytest.mark.parametrize("line", [b"not JSON\n", b"x" * 3 * FRAME], ids=["garbage", "endless"])
async def test_garbage_ends_the_line_of_who_says_it(directory: Path, line: bytes) -> None:
    async with pair(directory) as (stage, by_hand, session, _):
        by_hand.say_bytes(line)
        await by_hand.dropped()
        assert "Traceback" not in stage.daemon.log
        assert await stage.sessions(0) == [session]


async def test_flood_of_events_ends_the_line_and_holds_up_nobody(directory: Path) -> None:
    async with pair(directory) as (stage, by_hand, _, _):
        with stage.process(BOB) as pid:
            session = await bobs(stage, by_hand, pid)
            for _ in range(10 * WINDOW):  # more than it is given leave for meanwhile
                by_hand.say(event={"@": "Gone", "session": session})
            await stage.sessions(ALICE)
            await by_hand.dropped()
            assert "more events than it may" in stage.daemon.log


async def test_who_attaches_and_says_nothing_is_not_waited_for(directory: Path) -> None:
    async with system(directory, patience=20) as stage, liar(stage, BOB) as silent:
        assert await silent.attach() == "attached"
        with stage.process(ALICE) as pid:
            assert await stage.register(ALICE, pid)
        await silent.dropped()


async def test_warden_of_another_version_is_sent_away(directory: Path) -> None:
    async with system(directory) as stage, liar(stage, BOB) as old:
        assert await old.attach() == "attached"
        old.say(hello=f"{__version__}.old")
        await old.dropped()


async def test_later_line_takes_the_place_of_an_earlier_one(directory: Path) -> None:
    async with pair(directory) as (stage, by_hand, _, _), liar(stage, BOB) as later:
        await later.greet()
        await by_hand.dropped()
        with stage.process(BOB) as pid:
            assert await bobs(stage, later, pid) in await stage.sessions(BOB)


async def test_answers_of_impossible_sizes_are_not_believed(directory: Path) -> None:
    async with pair(directory) as (stage, by_hand, _, _):
        with stage.process(BOB) as pid:
            session = await bobs(stage, by_hand, pid)
            path = f"/org/musterd/Muster1/session/{session}"
            show = asyncio.create_task(
                stage.busctl(
                    BOB, "get-property", "org.musterd.Muster1", path, "org.musterd.Muster1.Session", "Tasks"
                )
            )
            number = await by_hand.asked("usage")
            usage = {"@": "Usage", "memory": 1, "private": 1, "cpu_usec": 1, "tasks": 2**40}
            by_hand.say(part=number, key=session, value=usage)
            await by_hand.dropped()
            await show


async def test_no_signal_and_no_file_of_a_user_is_the_daemon_s(directory: Path) -> None:
    """Its open files are its own, the bus, sockets and the kernel's."""
    async with pair(directory) as (stage, by_hand, _, _):
        with stage.process(BOB) as pid:
            await bobs(stage, by_hand, pid)
            assert stage.daemon.process
            files = open_files(stage.daemon.process.pid)
            users = [str(stage.directory / f"home-{uid}") for uid in (ALICE, BOB)]
            assert not [file for file in files if any(file.startswith(home) for home in users)]
