"""Agents that nobody registered: found when they open their files, and told of once."""

import asyncio
import time
from pathlib import Path

import pytest

from helpers.programs import PATIENCE
from helpers.scribe import Scene, scene, session_of
from musterd.core.session import Agent, SessionId
from musterd.host.files import Files
from musterd.warden import discovery as discovery_module
from musterd.warden.discovery import Discovery
from musterd.warden_port import Appeared, Gone


async def told(here: Scene) -> list[int]:
    """Whom a sweep tells of. A session that ends marks where it is over."""
    pid = here.programs.start("sleep", "60")
    await here.warden.watch(session_of(await here.warden.leader(pid, Agent.OTHER), "mark"))
    await here.warden.sweep()
    here.programs.end(pid)
    before = len(here.heard)
    await here.event(Gone)
    here.warden.unwatch(SessionId("mark"))
    return [e.leader.process.pid for e in here.heard[before:] if isinstance(e, Appeared)]


async def test_an_agent_is_told_of_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        assert await told(here) == [pid]
        assert await told(here) == []


async def test_an_agent_that_was_not_taken_is_told_of_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        assert await told(here) == [pid]
        here.warden.forget((await here.warden.leader(pid, None)).process)
        assert await told(here) == [pid]


async def test_what_is_told_is_all_that_a_registration_would_tell(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        await here.warden.sweep()
        assert (await here.event(Appeared)).leader == await here.warden.leader(pid, None)


async def test_who_is_watched_is_not_told_of(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session = await here.session(here.start())
        assert await told(here) == []
        here.warden.unwatch(session.id)
        assert await told(here) == []  # somebody took it off the roll on purpose


async def test_a_launcher_is_folded_into_its_leader(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        launcher = here.start(f"{tmp_path}/bin/scribe -c 'echo $$; read line; :'", launcher=True)
        assert await told(here) == [int(here.programs.read_line(launcher))]


async def test_an_agent_within_an_agent_is_one_of_its_own(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        outer = here.start(f"{tmp_path}/bin/scribe -c 'echo $$; read line; :'")
        assert set(await told(here)) == {outer, int(here.programs.read_line(outer))}


async def test_a_mere_fork_of_an_agent_is_none(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("exec 3<&0; (echo fork; read line <&3) & wait")
        here.programs.read_line(pid)
        assert await told(here) == [pid]


async def test_opening_its_settings_brings_an_agent_on_the_roll(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write("settings", "x")
        await here.warden.sweep()
        pid = here.start(f"cat {tmp_path}/.scribe/settings; read line")
        async with asyncio.timeout(PATIENCE):
            assert (await here.event(Appeared)).leader.process.pid == pid


async def test_a_program_that_becomes_an_agent_after_it_opened_them_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter reads the settings; what it is can be seen only later."""
    monkeypatch.setattr(discovery_module, "DELAYS", (0.1, 1, 2, 4, 8, 16, 32))  # a busy machine takes longer
    async with scene(tmp_path) as here:
        here.write("settings", "x")
        settings = tmp_path / ".scribe" / "settings"
        pid = here.programs.start(
            "sh", "-c", f"cat {settings}; sleep 0.5; exec {here.scribe} -c 'read line\n:'"
        )
        async with asyncio.timeout(PATIENCE):
            assert (await here.event(Appeared)).leader.process.pid == pid


async def test_settings_whose_directory_comes_later_count(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.warden.sweep()
        pid = here.start()
        here.write("settings", "x")
        async with asyncio.timeout(PATIENCE):
            assert (await here.event(Appeared)).leader.process.pid == pid


async def test_without_any_event_the_interval_finds_it(tmp_path: Path) -> None:
    async with scene(tmp_path, interval=0.2) as here:
        await here.warden.sweep()
        pid = here.start()
        async with asyncio.timeout(PATIENCE):
            assert (await here.event(Appeared)).leader.process.pid == pid


async def test_a_session_that_registers_while_it_is_found_is_told_of_once_at_most(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        leader = await here.warden.leader(pid, None)
        sweep = asyncio.ensure_future(here.warden.sweep())
        await here.warden.watch(session_of(leader))
        await sweep
        assert await told(here) == []


@pytest.mark.parametrize(("cost", "is_soon"), [("waits", True), ("works", False)])
async def test_looks_that_take_long_put_off_the_next_only_if_they_cost_much(
    monkeypatch: pytest.MonkeyPatch, cost: str, is_soon: bool
) -> None:
    """On a busy machine they take long, and cost no more than on another."""
    monkeypatch.setattr(discovery_module, "SAVED_UP", 0.5)
    files, swept = Files(), asyncio.Event()

    async def sweep() -> None:
        if cost == "waits":
            await asyncio.sleep(1.0)
        while cost == "works" and time.process_time() - began < 1.0:
            pass
        swept.set()

    discovery = Discovery(files, [], sweep, 3600.0)
    began = time.process_time()
    discovery.start()
    await swept.wait()
    await asyncio.sleep(0)
    discovery._opened()
    due = min(timer.when() for timer in discovery._due.values()) - asyncio.get_running_loop().time()
    assert (due <= min(discovery_module.DELAYS)) == is_soon
    await discovery.close()
    files.close()


@pytest.mark.parametrize("turns", range(6))
async def test_a_file_that_is_opened_as_we_leave_holds_nothing_up(turns: int) -> None:
    """Whatever turn of the loop it is seen in."""
    files, swept = Files(), asyncio.Event()

    async def sweep() -> None:
        swept.set()

    discovery = Discovery(files, [], sweep, 3600.0)
    discovery.start()
    await swept.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    discovery._wanted.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await discovery.close()
    files.close()
