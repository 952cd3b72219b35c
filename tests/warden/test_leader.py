"""Whose session a process belongs to."""

import asyncio
import os
from pathlib import Path

import pytest

from helpers.programs import Programs, until
from helpers.scribe import Scribe, scene, session_of
from musterd.core.errors import AccessDenied, NoSuchSession
from musterd.core.session import Agent
from musterd.host.clock import HostClock
from musterd.host.process import read_facts
from musterd.host.table import Table
from musterd.warden.local import LocalWarden


async def test_a_leader_tells_of_itself(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("read line")
        leader = await here.warden.leader(pid, None)
        assert (leader.agent, leader.version, leader.facts.executable) == (
            Agent.PI,
            "1.2.3",
            str(here.scribe),
        )
        assert leader.process.pid == pid
        assert leader.facts.argv[0] == str(here.scribe)
        assert (leader.launcher, leader.agent_session_id, leader.transcript) == (None, "", "")


async def test_an_upgrade_under_a_running_agent_is_not_its_version(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        old = here.start("read line")
        await asyncio.sleep(0.05)
        version = tmp_path / "bin" / "version"
        version.write_text("2.0.0\n")
        os.utime(version, (1000, 1000))  # a package brings its times along
        await asyncio.sleep(0.05)
        new = here.start("read line")
        assert (await here.warden.leader(new, None)).version == "2.0.0"
        assert (await here.warden.leader(old, None)).version == ""


@pytest.mark.parametrize("agent", [None, Agent.PI])
async def test_a_hook_far_below_finds_its_leader(tmp_path: Path, agent: Agent | None) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("setsid sh -c 'sh -c \"echo \\$\\$; read line\"; :' <&0")
        hook = int(here.programs.read_line(pid))
        assert (await here.warden.leader(hook, agent)).process.pid == pid


async def test_the_nearest_of_two_agents_is_meant(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        outer = here.start(f"{tmp_path}/bin/scribe -c 'echo $$; sh -c \"echo \\$\\$; read line\"; :'")
        inner = int(here.programs.read_line(outer))
        hook = int(here.programs.read_line(outer))
        assert (await here.warden.leader(hook, None)).process.pid == inner
        assert (await here.warden.leader(inner, None)).process.pid == inner
        assert (await here.warden.leader(outer, None)).process.pid == outer


async def test_who_has_no_launcher_above_costs_no_look_at_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        scribe, stranger = here.start(), here.programs.start("sleep", "60")
        with monkeypatch.context() as patch:
            patch.setattr(Table, "read", lambda: pytest.fail("all processes were looked at"))
            assert (await here.warden.leader(scribe, None)).process.pid == scribe
            with pytest.raises(NoSuchSession):
                await here.warden.leader(stranger, None)
            assert (await here.warden.leader(stranger, Agent.OTHER)).process.pid == stranger


async def test_a_launcher_stands_for_the_leader_below_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        launcher = here.start(f"{tmp_path}/bin/scribe -c 'echo $$; read line; :'", launcher=True)
        inner = int(here.programs.read_line(launcher))
        for pid in (launcher, inner):
            leader = await here.warden.leader(pid, None)
            assert leader.process.pid == inner
            assert leader.launcher
            assert leader.launcher.pid == launcher


async def test_a_child_that_was_only_forked_is_no_agent(tmp_path: Path) -> None:
    """It looks just like the agent: same image, same arguments."""
    async with scene(tmp_path) as here:
        pid = here.start("exec 3<&0; (sh -c 'echo $PPID'; read line <&3) & wait")
        fork = int(here.programs.read_line(pid))
        assert fork != pid
        assert read_facts(fork).executable == str(here.scribe)
        assert (await here.warden.leader(fork, None)).process.pid == pid


async def test_an_unknown_program_leads_only_when_an_agent_is_named(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.programs.start("sleep", "60")
        until(lambda: read_facts(pid).argv, "it runs")
        with pytest.raises(NoSuchSession):
            await here.warden.leader(pid, None)
        for agent in (Agent.OTHER, Agent.CODEX, Agent.PI):
            leader = await here.warden.leader(pid, agent)
            assert (leader.process.pid, leader.agent) == (pid, agent)
            assert leader.facts.argv == ("sleep", "60")


async def test_agent_other_is_the_process_itself_even_within_a_session(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("sh -c 'echo $$; read line'")
        tool = int(here.programs.read_line(pid))
        leader = await here.warden.leader(tool, Agent.OTHER)
        assert (leader.process.pid, leader.agent) == (tool, Agent.OTHER)


async def test_who_has_ended_leads_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("read line")
        session = session_of(await here.warden.leader(pid, None))
        here.programs.end(pid)
        with pytest.raises(NoSuchSession):
            await here.warden.leader(pid, None)
        with pytest.raises(NoSuchSession):
            await here.warden.lineage(pid)
        with pytest.raises(NoSuchSession):
            await here.warden.watch(session)


async def test_another_users_process_is_nobody_s_here(tmp_path: Path) -> None:
    warden = LocalWarden(os.getuid() + 1, [Scribe(tmp_path)], HostClock(), str(tmp_path))
    with Programs() as programs:
        pid = programs.start("sleep", "60")
        for agent in (None, Agent.OTHER, Agent.PI):
            with pytest.raises(AccessDenied):
                await warden.leader(pid, agent)
    await warden.close()


async def test_lineage_goes_up_to_process_one(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("read line")
        lineage = [process.pid for process in await here.warden.lineage(pid)]
        assert lineage[:2] == [pid, os.getpid()]
        assert lineage[-1] == 1
