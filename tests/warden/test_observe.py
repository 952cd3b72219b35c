"""One look: everything that a gate asks about."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.programs import until
from helpers.scribe import Scene, line, scene
from helpers.tmux import TmuxServer
from musterd.core.event import EventKind
from musterd.core.evidence import Child, Identity, Observation, Presence, Screen, Transcript, Unknown
from musterd.core.session import Session
from musterd.host import tmux
from musterd.host.process import read_stat
from musterd.host.table import Table
from musterd.warden.look import digest

CAT = os.path.realpath("/bin/cat")


def children(look: Observation) -> dict[int, Child]:
    assert not isinstance(look.children, Unknown)
    return {child.process.pid: child for child in look.children}


async def test_an_idle_agent_is_seen_whole(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        path = here.write("t.jsonl", line(EventKind.SETTLED, 2))
        session = await here.session(here.start(), transcript=path)
        before = time.time_ns() // 1000
        look = await here.look(session)
        assert before <= look.at <= time.time_ns() // 1000
        assert session.leader
        assert look.identity == Identity(session.leader, os.getuid(), str(here.scribe))
        assert isinstance(look.transcript, Transcript)
        assert look.transcript.is_complete
        assert look.transcript.size == path.stat().st_size
        assert isinstance(look.native, Unknown)
        assert (look.screen, look.children, look.worktree) == (None, (), None)
        assert look.presence == Presence(attached=False, last_input=0)
        assert look.usage.memory > look.usage.private > 0
        assert look.usage.tasks == 1


async def test_a_look_brings_what_was_written_until_then(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        path = here.write("t.jsonl", line(EventKind.SETTLED, 2))
        session = await here.session(here.start(), transcript=path)
        with path.open("a") as file:
            file.write(line(EventKind.TURN_START, 3) + '{"kind": "wo')
        look = await here.look(session)
        assert isinstance(look.transcript, Transcript)
        assert not look.transcript.is_complete
        assert look.transcript.size == path.stat().st_size


async def test_what_waits_in_its_queue_is_counted(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session = await here.session(here.start())
        assert (await here.look(session)).queued is None
        here.queue("another")
        assert (await here.look(session)).queued == 0
        here.queue("s", "another", "s")
        assert (await here.look(session)).queued == 2
        here.write("queue", "no database at all")
        assert isinstance((await here.look(session)).queued, Unknown)


async def test_work_and_helpers_are_told_apart(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        script = "exec 3<&0; cat <&3 & echo cat $!; setsid sh -c 'echo sleep $$; exec sleep 60' & wait"
        pid = here.start(script)
        below = dict(here.programs.read_line(pid).split() for _ in range(2))  # in either order
        helper, tool = int(below["cat"]), int(below["sleep"])
        here.programs.adopt(tool)
        until(lambda: read_stat(helper).comm == "cat" and read_stat(tool).comm == "sleep", "both run")
        seen = children(await here.look(await here.session(pid)))
        assert {(c.process.pid, c.name, c.is_helper) for c in seen.values()} == {
            (helper, "cat", True),
            (tool, "sleep", False),
        }
        assert all(abs(c.start_usec - time.time_ns() // 1000) < 60_000_000 for c in seen.values())


async def test_cpu_time_of_a_child_is_counted(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("sh -c 'echo $$; while :; do :; done'")
        tool = int(here.programs.read_line(pid))
        session = await here.session(pid)
        here.programs.adopt(tool)
        until(lambda: read_stat(tool).cpu_usec >= 100_000, "it burns")
        look = await here.look(session)
        assert children(look)[tool].cpu_usec >= 100_000
        assert look.usage.cpu_usec >= 100_000


# No other test, nor another run of this one, has it.
OURS = f"ours-{os.getpid()}"


@pytest.mark.parametrize("mark", [f"SCRIBE_SESSION={OURS}", "SCRIBE_PID=$$", f"MUSTERD_SESSION={OURS}"])
async def test_a_tool_that_left_the_tree_is_found_by_its_mark(tmp_path: Path, mark: str) -> None:
    async with scene(tmp_path) as here:
        script = f"({mark} setsid sh -c 'echo $$; exec sleep 60' & ); read line"
        pid = here.start(script)
        tool = here.programs.adopt(int(here.programs.read_line(pid)))
        until(lambda: read_stat(tool).comm == "sleep" and not Table.read().descendants(pid), "it left")
        session = replace(await here.session(pid, OURS), agent_session_id=OURS)
        await here.warden.watch(session)
        look = await here.look(session)
        assert set(children(look)) == {tool}
        assert look.usage.tasks == 2


async def test_what_serves_all_programs_of_its_user_is_no_tool(tmp_path: Path) -> None:
    """Whoever needed it first has started it."""
    async with scene(tmp_path) as here:
        shutil.copy("/bin/sleep", tmp_path / "gpg-agent")
        script = (
            f"(MUSTERD_SESSION={OURS} setsid sh -c 'echo $$; exec {tmp_path}/gpg-agent 60' & ); read line"
        )
        pid = here.start(script)
        agent = here.programs.adopt(int(here.programs.read_line(pid)))
        until(lambda: read_stat(agent).ppid != pid and read_stat(agent).comm == "gpg-agent", "it left")
        assert children(await here.look(await here.session(pid, OURS))) == {}


@pytest.mark.parametrize("mark", ["SCRIBE_SESSION=x", "SCRIBE_SESSION=", "SCRIBE_PID=1", f"OTHER={OURS}"])
async def test_a_stranger_s_mark_is_none(tmp_path: Path, mark: str) -> None:
    async with scene(tmp_path) as here:
        name, _, value = mark.partition("=")
        stranger = here.programs.start("sleep", "60", environ={name: value})
        until(lambda: read_stat(stranger).comm == "sleep", "it runs")
        session = replace(await here.session(here.start()), agent_session_id=OURS)
        await here.warden.watch(session)
        assert children(await here.look(session)) == {}


async def test_a_launcher_is_part_of_the_tree_and_no_child(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        launcher = here.start(f"{tmp_path}/bin/scribe -c 'echo $$; read line; :'", launcher=True)
        here.programs.read_line(launcher)
        look = await here.look(await here.session(launcher))
        assert (look.children, look.usage.tasks) == ((), 2)


async def test_a_leader_that_ended_is_unknown(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        session = await here.session(pid)
        here.programs.end(pid)
        look = await here.look(session, screens=True)
        assert isinstance(look.identity, Unknown)
        assert isinstance(look.children, Unknown)


async def test_a_leader_that_runs_another_program_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("read line; exec cat")
        session = await here.session(pid)
        here.programs.write_line(pid, "go")
        until(lambda: read_stat(pid).comm == "cat", "cat runs")
        identity = (await here.look(session)).identity
        assert isinstance(identity, Identity)
        assert identity.executable == CAT


async def test_what_is_not_watched_is_unknown(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session = await here.session(here.start())
        here.warden.unwatch(session.id)
        assert (await here.look(session)).identity == Unknown("it is not watched")
        assert await here.warden.usage([session]) == {}


@pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
async def test_a_trap_in_place_of_a_transcript_is_unknown(tmp_path: Path, kind: str) -> None:
    async with scene(tmp_path) as here:
        trap = here.write("x", "").parent / "trap"
        match kind:
            case "directory":
                trap.mkdir()
            case "pipe":
                os.mkfifo(trap)
            case "link":
                trap.symlink_to("/etc/passwd")
        look = await here.look(await here.session(here.start(), transcript=trap))
        assert isinstance(look.transcript, Unknown)


async def test_usage_is_of_the_whole_tree(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        size = 32 * 2**20
        fill = f"x = bytearray({size}); print(1, flush=True); input()"
        pid = here.start(f"python3 -c '{fill}'")
        here.programs.read_line(pid)
        session = await here.session(pid)
        usage = (await here.warden.usage([session]))[session.id]
        assert size < usage.private < 2 * size
        assert usage.tasks == 2


async def test_an_evaluation_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path) as here:
        sessions = [await here.session(here.start("sleep 60"), f"s{n}") for n in range(20)]
        with monkeypatch.context() as patch:
            for owner, name in ((subprocess, "Popen"), (os, "fork"), (os, "posix_spawn")):
                patch.setattr(owner, name, lambda *_, **__: pytest.fail("a process was started"))
            looks = await here.warden.observe(sessions, screens=False)
        assert all(isinstance(look.identity, Identity) for look in looks.values())
        assert len(looks) == 20


# On a screen


async def in_pane(here: Scene, server: TmuxServer, script: str) -> tuple[Session, str]:
    pane = server.pane(f"exec {here.scribe} -c '{script}\n:'")
    pid = int(server.about(pane, "pane_pid"))
    until(lambda: read_stat(pid).comm == "scribe", "it runs")
    session = await here.session(pid)
    assert session.terminal == f"tmux:{server.socket}:{pane}"
    return session, pane


async def test_the_screen_of_a_pane_is_read_when_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            session, pane = await in_pane(here, server, "echo DIALOG; read line; echo DRAFT; read line")
            until(lambda: "DIALOG" in server.run("capture-pane", "-p", "-t", pane), "shown")
            assert (await here.look(session)).screen is None
            first = (await here.look(session, screens=True)).screen
            again = (await here.look(session, screens=True)).screen
            assert isinstance(first, Screen)
            assert first == again
            assert (first.has_dialog, first.has_draft) == (True, False)
            server.run("send-keys", "-t", pane, "Enter")
            until(lambda: "DRAFT" in server.run("capture-pane", "-p", "-t", pane), "shown")
            after = (await here.look(session, screens=True)).screen
            assert isinstance(after, Screen)
            assert after.has_draft
            assert after.digest != first.digest


async def test_screen_without_a_composer_is_unknown(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            session, pane = await in_pane(here, server, "echo PAGER; read line")
            until(lambda: "PAGER" in server.run("capture-pane", "-p", "-t", pane), "shown")
            look = await here.look(session, screens=True)
            assert look.screen == Unknown("neither a composer nor a dialog is seen")
            assert isinstance(look.presence, Presence)


async def test_presence_needs_no_process_where_no_screen_is_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            session, _ = await in_pane(here, server, "read line")
            presence = (await here.look(session)).presence
            assert isinstance(presence, Presence)
            assert not presence.attached
            server.attach()
            until(lambda: os.stat(server.socket).st_mode & 0o100, "tmux marks its socket")
            presence = (await here.look(session)).presence
            assert isinstance(presence, Presence)
            assert presence.attached


async def test_a_hung_tmux_makes_the_screen_unknown_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            session, _ = await in_pane(here, server, "read line")
            other = await here.session(here.start(), "other")
            server.stop()
            monkeypatch.setattr(tmux, "TIMEOUT", 0.2)
            looks = await here.warden.observe([session, other], screens=True)
            assert isinstance(looks[session.id].screen, Unknown)
            assert isinstance(looks[session.id].presence, Unknown)
            assert isinstance(looks[other.id].identity, Identity)


def test_a_digest_is_of_what_a_person_sees() -> None:
    assert digest("a \nb\n\n\n", "t") == digest("a\nb", "t")
    assert len({digest("a\nb", "t"), digest("a\nc", "t"), digest("a\nb", "u"), digest("a\n b", "t")}) == 4
