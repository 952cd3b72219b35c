"""What a user may hear of others, and say of them as a warden; the rest is tried in `system`."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.daemon import CallFailed
from helpers.liar import liar
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


async def lines_to(told: asyncio.StreamReader, *words: str) -> list[str]:
    """What is told, to the first line that has these."""
    lines = [""]
    while not all(word in lines[-1] for word in words):
        lines.append((await told.readline()).decode())
        assert lines[-1], f"it ended without {words}"
    return lines


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
            # Once a tick; not any more when its session is gone by then.
            lines = await lines_to(told, "PropertiesChanged", "Claims")
            await stage.call(ALICE, "Reaper.Explain", "s", session)
            await stage.call(ALICE, "TerminateSession", "ss", session, SECRET)
        lines += await lines_to(told, "SessionRemoved")
        assert any("SessionNew" in line for line in lines)
        assert [line for line in lines if SECRET in line] == []


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
