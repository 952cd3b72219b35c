"""What a user of a shared host may try, with real processes, and what comes of it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.daemon import CallFailed
from helpers.liar import liar
from helpers.processes import open_files
from helpers.system import System, system
from helpers.users import ALICE, BOB, PYTHON, as_user, home_of, needs_root
from musterd.host.process import HeldProcess
from musterd.warden.wire import pack

pytestmark = needs_root

HELPERS = Path(__file__).parents[1] / "helpers"
SECRET = "seekritword"


@asynccontextmanager
async def program(stage: System, uid: int, name: str, *args: str) -> AsyncIterator[asyncio.StreamReader]:
    """A helper that runs as that user, and has said its first line -> what it says after that."""
    path = stage.directory / name
    path.write_text((HELPERS / name).read_text())
    process = await asyncio.create_subprocess_exec(
        *as_user(uid, PYTHON, str(path), *args), stdout=asyncio.subprocess.PIPE, env=stage.environ(uid)
    )
    assert process.stdout
    try:
        assert await process.stdout.readline()
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def register(stage: System, uid: int, pid: int, **spec: str) -> str:
    words = [word for key, value in spec.items() for word in (key, "s", value)]
    arguments = (1 + len(spec), "pid", "u", pid, *words)
    session_id, _ = await stage.call(uid, "RegisterSession", "a{sv}", *arguments)
    return str(session_id)


def fds(stage: System) -> list[str]:
    assert stage.daemon.process
    return open_files(stage.daemon.process.pid)


async def test_no_broadcast_carries_private_text(directory: Path) -> None:
    async with system(directory) as stage, program(stage, BOB, "listener.py") as told:
        home = home_of(directory, ALICE) / SECRET
        home.mkdir()
        os.chown(home, ALICE, ALICE)
        with stage.process(ALICE, "env", f"--chdir={home}", "cat") as pid:
            spec = {"cwd": str(home), "title": SECRET, "transcript": f"{home}/log", "terminal": f"/{SECRET}"}
            session = await register(stage, ALICE, pid, **spec, **{"agent-session-id": SECRET})
            await register(stage, ALICE, pid, **spec, **{"agent-session-id": SECRET * 2})
            await stage.call(ALICE, "SetProtected", "sb", session, "true")
            await stage.call(ALICE, "Inhibit", "sssss", "reap", SECRET, SECRET, "block", session)
            claim = ("StopGate.Claim", "a{sv}", 2, "session", "s", session, "task", "s", SECRET)
            await stage.call(ALICE, *claim)
            await stage.call(ALICE, "Reaper.Explain", "s", session)
            await stage.call(ALICE, "TerminateSession", "ss", session, SECRET)
        lines = []
        while "SessionRemoved" not in (line := (await told.readline()).decode()):
            lines.append(line)
        assert any("SessionNew" in line for line in lines)
        assert any("Claims" in line for line in lines)
        assert [line for line in [*lines, line] if SECRET in line] == []


@pytest.mark.parametrize("way", ["link", "huge", "pipe", "directory", "another user's", "device"])
async def test_hostile_transcript_is_unknown_and_opened_by_nobody_else(directory: Path, way: str) -> None:
    async with system(directory) as stage:
        file = home_of(directory, BOB) / "transcript.jsonl"
        match way:
            case "link":
                file.symlink_to("/etc/shadow")
            case "huge":
                file.touch()
                os.truncate(file, 2**40)
            case "pipe":
                os.mkfifo(file)
            case "directory":
                file.mkdir()
            case "another user's":
                file = home_of(directory, ALICE) / "transcript.jsonl"
                file.write_text("{}\n")
                file.chmod(0o600)
            case "device":
                file = Path("/dev/zero")
        if way not in ("link", "another user's", "device"):
            os.chown(file, BOB, BOB)
        with stage.process(BOB) as pid, stage.process(ALICE) as other:
            session = await register(stage, BOB, pid, agent="codex", transcript=str(file))
            verdict, _, gates = await stage.call(BOB, "Reaper.Explain", "s", session)
            outcomes = {name: (outcome, text) for name, outcome, _, text in gates}
            assert (verdict, outcomes["transcript"][0] != "pass") == ("keep", True), outcomes["transcript"]
            assert await stage.register(ALICE, other)
            assert not [path for path in fds(stage) if str(directory / "home-7") in path or "shadow" in path]
            assert await stage.health() == []


@pytest.mark.parametrize("way", ["hang", "flood", "garbage"])
async def test_tmux_server_that_misbehaves_costs_its_user_a_veto_and_nobody_anything(
    directory: Path, way: str
) -> None:
    async with system(directory) as stage:
        socket = home_of(directory, BOB) / "tmux"
        with stage.process(BOB) as pid, stage.process(ALICE) as other:
            async with program(stage, BOB, "bad_tmux.py", str(socket), way):
                session = await register(stage, BOB, pid, agent="codex", terminal=f"tmux:{socket}:%1")
                ours = await stage.register(ALICE, other)
                judging = asyncio.create_task(stage.call(BOB, "Reaper.Explain", "s", session))
                assert await stage.call(ALICE, "Reaper.Explain", "s", ours)
                verdict, _, _ = await judging
                assert verdict == "keep"
                assert await stage.health() == []


async def test_tmux_socket_of_another_user_is_not_talked_to(directory: Path) -> None:
    async with system(directory) as stage:
        socket = home_of(directory, BOB) / "tmux"
        with stage.process(ALICE) as pid:
            async with program(stage, BOB, "bad_tmux.py", str(socket), "hang"):
                socket.chmod(0o777)
                session = await register(stage, ALICE, pid, agent="codex", terminal=f"tmux:{socket}:%1")
                _, _, gates = await stage.call(ALICE, "Reaper.Explain", "s", session)
                assert f"is not a socket of user {ALICE}" in str(gates)


async def test_inhibitors_exhaust_neither_the_daemon_nor_others(directory: Path) -> None:
    async with system(directory) as stage:
        before = len(fds(stage))
        async with program(stage, BOB, "greedy.py", "400") as told:
            last = (await told.readline()).decode()
            assert "LimitReached" in last
            assert len(fds(stage)) < before + 300
            await stage.call(ALICE, "Inhibit", "sssss", "reap", "test", "why", "block", "")


async def test_mark_of_another_user_s_session_brings_nothing_back(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            await stage.call(ALICE, "TerminateSession", "ss", session, "enough")
        with stage.process(BOB, "env", f"MUSTERD_SESSION={session}", "cat") as pid:
            theirs = await stage.register(BOB, pid)
            assert theirs != session
            assert await stage.sessions(ALICE) == []
            ((row,), count) = await stage.call(ALICE, "ListEndedSessions", "uu", 0, 10)
            assert (row[0], row[3], count) == (session, "ended", 1)


async def test_lineage_that_leads_to_another_user_s_session_opens_nothing(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            async with liar(stage, BOB) as by_hand:
                await by_hand.greet()
                with HeldProcess(pid) as held:
                    forged = pack(held.ref)
                asking = asyncio.create_task(stage.call(BOB, "GetSessionByPID", "u", 0))
                by_hand.say(done=await by_hand.asked("lineage"), value=[forged])
                with pytest.raises(CallFailed, match="belongs to another user"):
                    await asking
                event = ("ReportEvent", "sss", "codex", "turn-start", "{}")
                telling = asyncio.create_task(stage.call(BOB, *event))
                by_hand.say(refused=await by_hand.asked("leader"), error="NoSuchSession", text="none")
                by_hand.say(done=await by_hand.asked("lineage"), value=[forged])
                with pytest.raises(CallFailed):
                    await telling
            [events] = await stage.call(ALICE, "ListEvents", "utts", 10, 0, 0, session)
            assert [event[3] for event in events] == ["registered"]
