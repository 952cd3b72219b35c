"""An end of a session takes all that belongs to it and nothing else, and is verified."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from helpers.programs import PATIENCE, until
from helpers.scribe import Scene, Scribe, line, scene, session_of
from helpers.standin import install_codex
from helpers.tmux import TmuxServer
from musterd.agents.base import Adapter
from musterd.agents.codex import Codex
from musterd.core.errors import NoSuchSession
from musterd.core.event import EventKind
from musterd.core.evidence import Presence
from musterd.core.session import Agent, Session
from musterd.core.units import USEC_PER_SEC
from musterd.host import kill
from musterd.host.clock import HostClock
from musterd.host.process import HeldProcess, read_facts, read_stat
from musterd.host.table import Table
from musterd.warden import composer
from musterd.warden import ending as ways
from musterd.warden import notice as telling
from musterd.warden.composer import is_all_of_draft, is_composer_empty
from musterd.warden.local import LocalWarden

OURS = f"ending-{os.getpid()}"
MARK = f"MUSTERD_SESSION={OURS}"


@pytest.fixture(autouse=True)
def _wait_not_for_tools_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "TOOLS_PATIENCE", 0.2)


@pytest.fixture
def _wait_not_for_the_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "TERM_PATIENCE", 0.5)


def is_alive(pid: int) -> bool:
    try:
        return not read_stat(pid).has_ended
    except ProcessLookupError:
        return False


async def started(here: Scene, script: str, count: int, name: str = OURS) -> tuple[Session, list[int]]:
    """A session whose leader runs this script, and the processes whose pids it printed."""
    pid = here.start(script)
    below = [here.programs.adopt(int(here.programs.read_line(pid))) for _ in range(count)]
    for each in below:
        until(partial(is_what_it_stays, each), "it is what it stays")
    return await here.session(pid, name), below


def is_what_it_stays(pid: int) -> bool:
    """A tool has told its pid before it sleeps, or is stopped."""
    stat = read_stat(pid)
    return stat.comm != "sh" or stat.state == "T"


def tool(before: str = "", after: str = "exec sleep 60") -> str:
    return f"sh -c '{before}echo $$; {after}'"


DEAF = 'trap "" TERM; '  # what is ignored stays so over execve(2)
STOPPED = "kill -STOP $$; exec sleep 60"

TREES = [
    ("nothing below it", "read line", 0, "SIGTERM"),
    ("a child that ends with SIGTERM", f"{tool()} & read line", 1, "SIGTERM"),
    ("a child that ignores SIGTERM", f"{tool(DEAF)} & read line", 1, "SIGKILL"),
    ("a child that called setsid", f"setsid {tool()} & read line", 1, "SIGTERM"),
    ("one that forked twice, with the mark", f"({MARK} setsid {tool()} &); read line", 1, "SIGTERM"),
    ("the same, that ignores SIGTERM", f"({MARK} setsid {tool(DEAF)} &); read line", 1, "SIGKILL"),
    ("a stopped one", f"{tool(after=STOPPED)} & read line", 1, "SIGTERM"),
    ("a leader that ignores SIGTERM", f'trap "" TERM; {tool()} & read line; wait', 1, "SIGKILL"),
]


@pytest.mark.parametrize(("script", "count", "how"), [t[1:] for t in TREES], ids=[t[0] for t in TREES])
async def test_all_that_belongs_to_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, count: int, how: str
) -> None:
    if how == "SIGKILL":
        monkeypatch.setattr(ways, "TERM_PATIENCE", 0.5)
    async with scene(tmp_path) as here:
        session, below = await started(here, script, count)
        ending = await here.warden.end(session, None)
        assert (ending.is_ended, ending.how, ending.left) == (True, how, ())
        assert not any(map(is_alive, below))
        assert session.leader
        assert not is_alive(session.leader.pid)


async def test_memory_that_is_given_back_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        fill = "import os; x = bytearray(32 << 20); print(os.getpid(), flush=True); input()"
        session, _ = await started(here, f"python3 -c '{fill}'", 1)
        assert 32 << 20 < (await here.warden.end(session, None)).freed < 64 << 20


@pytest.mark.usefixtures("_wait_not_for_the_deaf")
async def test_a_process_in_uninterruptible_sleep_is_waited_for_and_killed(tmp_path: Path) -> None:
    """A parent in vfork(2) sleeps so until its child runs a program; this one waits for a pipe's writer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with scene(tmp_path) as here:
        session, below = await started(here, f"python3 -c '{_in_vfork(pipe)}' & read line", 1)
        until(lambda: read_stat(below[0]).state == "D", "it sleeps")
        with kill.Grip() as grip:
            assert grip.take([read_stat(below[0])])
            assert grip.left == (f"python3 ({below[0]}): in uninterruptible sleep",)
        ending = await here.warden.end(session, None)
        assert (ending.is_ended, ending.how) == (True, "SIGKILL")
        assert not is_alive(below[0])


def _in_vfork(pipe: Path) -> str:
    opens = f'(os.POSIX_SPAWN_OPEN, 0, "{pipe}", os.O_RDONLY, 0)'
    spawn = f'os.posix_spawn("/bin/true", ["true"], {{}}, file_actions=[{opens}])'
    return f"import os; print(os.getpid(), flush=True); {spawn}"


@pytest.mark.usefixtures("_wait_not_for_the_deaf")
async def test_what_cannot_be_ended_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a process that waits for a device that does not answer."""
    monkeypatch.setattr(ways, "KILL_PATIENCE", 2.0)
    async with scene(tmp_path) as here:
        session, (tool_pid,) = await started(here, f"{tool()} & read line", 1)
        send = kill.send
        monkeypatch.setattr(
            kill, "send", lambda held, number: None if held.ref.pid == tool_pid else send(held, number)
        )
        ending = await here.warden.end(session, None)
        assert not ending.is_ended
        assert ending.left == (f"sleep ({tool_pid}): does not end",)
        assert session.leader
        assert not is_alive(session.leader.pid)


async def test_a_zombie_counts_as_gone(tmp_path: Path) -> None:
    """The leader itself is one here: its parent is this test, which waits for it only later."""
    async with scene(tmp_path) as here:
        session, _ = await started(here, "(exit 0) & read line", 0)
        assert session.leader
        ending = await here.warden.end(session, None)
        assert ending.is_ended
        assert read_stat(session.leader.pid).state == "Z"


async def test_a_leader_that_is_gone_already_is_no_session(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session, _ = await started(here, "read line", 0)
        assert session.leader
        here.programs.end(session.leader.pid)
        with pytest.raises(NoSuchSession):
            await here.warden.end(session, None)


async def test_an_end_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session, (tool_pid,) = await started(here, f"{tool(DEAF)} & read line", 1)
        assert session.leader
        end = asyncio.ensure_future(here.warden.end(session, None))
        with HeldProcess(session.leader.pid) as leader:
            assert await kill.all_gone([leader], PATIENCE)
        end.cancel()
        await asyncio.wait([end])
        assert end.cancelled()
        assert is_alive(tool_pid)


# What is never touched


async def test_a_stranger_s_process_survives(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        older = here.programs.start("sleep", "60", environ={"MUSTERD_SESSION": OURS})
        tick = read_stat(older).start_ticks
        until(
            lambda: time.clock_gettime(time.CLOCK_BOOTTIME) * 100 > tick + 2, "the leader's start is later"
        )
        session, _ = await started(here, "read line", 0)
        other = here.programs.start("sleep", "60", environ={"MUSTERD_SESSION": "another"})
        until(lambda: read_stat(other).comm == "sleep", "it runs")
        assert (await here.warden.end(session, None)).is_ended
        assert is_alive(older)
        assert is_alive(other)


async def test_a_session_beside_it_survives_with_all_its_tools(tmp_path: Path) -> None:
    """Also with those that it has no more below it, and that carry the marks of both."""
    async with scene(tmp_path) as here:
        session, _ = await started(here, "read line", 0)
        script = f"(SCRIBE_SESSION=beside {MARK} setsid {tool()} &); {tool()} & read line"
        beside, below = await started(here, script, 2, "beside")
        await here.warden.watch(replace(beside, agent_session_id="beside"))
        assert (await here.warden.end(session, None)).is_ended
        assert all(map(is_alive, below))
        assert beside.leader
        assert is_alive(beside.leader.pid)


async def test_a_session_around_it_survives(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        inner = f"{here.scribe} -c 'echo $$; sleep 60 & read line; :'; read line"
        outer, (pid,) = await started(here, inner, 1, "outer")
        session = await here.session(pid)
        assert (await here.warden.end(session, None)).is_ended
        assert not is_alive(pid)
        assert outer.leader
        assert is_alive(outer.leader.pid)


@pytest.mark.parametrize("is_watched", [True, False])
async def test_a_session_with_another_in_it_is_kept(tmp_path: Path, is_watched: bool) -> None:
    async with scene(tmp_path) as here:
        script = f"{here.scribe} -c 'echo $$; read line; :'"
        session, (nested,) = await started(here, script, 1)
        if is_watched:
            await here.session(nested, "nested")
        ending = await here.warden.end(session, None)
        assert ending.was_kept
        assert ending.how == f"kept: another session, 'scribe' ({nested}), runs within it"
        assert is_alive(nested)
        assert session.leader
        assert is_alive(session.leader.pid)


async def test_a_tmux_server_that_it_started_survives(tmp_path: Path) -> None:
    """With all that its user starts there, and be it without a terminal, or a parent."""
    async with scene(tmp_path) as here:
        inside = tmp_path / "inside"
        note = f"sh -c 'echo $$ >>{inside}; exec sleep 60'"
        inside.write_text("")
        (tmp_path / "shell").write_text(f"setsid {note} &\n(setsid {note} &)\ncat\n")
        new = f"new-session -d -P -F '#{{pid}} #{{pane_pid}}' sh {tmp_path}/shell"
        tmux = f"{MARK} tmux -S {tmp_path}/server -f /dev/null {new}"
        pid = here.start(f"env -u TMUX {tmux}; read line", environ={"LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"})
        there = [here.programs.adopt(int(word)) for word in here.programs.read_line(pid).split()]
        until(lambda: inside.read_text().count("\n") == 2, "its user has started two programs")
        there += [here.programs.adopt(int(word)) for word in inside.read_text().split()]
        session = await here.session(pid, OURS)
        assert (await here.look(session)).children == ()
        assert (await here.warden.end(session, None)).is_ended
        assert list(map(is_alive, there)) == [True] * 4
        here.warden.unwatch(session.id)
        assert not await here.warden.leftovers([session])


# The last look


CHANGES = [
    ("transcript", "its transcript changed"),
    ("queue", "its queue changed"),
    ("child", "its children changed"),
    ("status", "its own status changed"),
]


@pytest.mark.parametrize(("what", "why"), CHANGES, ids=[c[0] for c in CHANGES])
async def test_what_changed_at_the_last_moment_keeps_it(tmp_path: Path, what: str, why: str) -> None:
    async with scene(tmp_path) as here:
        transcript = here.write("t.jsonl", line(EventKind.SETTLED, 2))
        pid = here.start(f"read line; {tool()} & read line")
        session = await here.session(pid, OURS, transcript=transcript)
        look = await here.look(session, screens=True)
        match what:
            case "transcript":
                here.write("t.jsonl", line(EventKind.SETTLED, 2) * 2)
            case "queue":
                here.queue("s", "s")
            case "child":
                here.programs.write_line(pid, "go")
                here.programs.read_line(pid)
            case "status":
                here.write(f"status-{pid}", '{"state": "busy"}')
        ending = await here.warden.end(session, look)
        assert (ending.is_ended, ending.how, ending.was_kept) == (False, f"kept: {why}", True)
        assert is_alive(pid)


async def test_what_is_as_it_was_is_ended(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        transcript = here.write("t.jsonl", line(EventKind.SETTLED, 2))
        pid = here.start(f"{tool()} & {tool()} & read line")
        # Not before both are what they stay: what becomes another program is a change.
        until(lambda: [row.comm for row in Table.read().descendants(pid)] == ["sleep", "sleep"], "both run")
        session = await here.session(pid, OURS, transcript=transcript)
        look = await here.look(session, screens=True)
        assert (await here.warden.end(session, look)).is_ended


# In a scope of its own


def within(scope: Path, script: str) -> str:
    return f"echo $$ > {scope}/cgroup.procs; {script}"


@pytest.mark.usefixtures("_wait_not_for_the_deaf")
async def test_a_scope_of_its_own_is_ended_whole(tmp_path: Path, scope: Path) -> None:
    """Also what left the tree, and has no mark."""
    async with scene(tmp_path) as here:
        script = within(scope, f"(setsid {tool(DEAF)} &); read line")
        session, (tool_pid,) = await started(here, script, 1)
        ending = await here.warden.end(session, None)
        assert (ending.is_ended, ending.how) == (True, "SIGKILL")
        assert not is_alive(tool_pid)


async def test_what_no_look_has_seen_in_its_scope_keeps_it(tmp_path: Path, scope: Path) -> None:
    """It is not known to have the scope for itself, so that no look sees what is in there."""
    async with scene(tmp_path) as here:
        script = within(scope, f"(setsid {tool()} &); read line")
        session, (tool_pid,) = await started(here, script, 1)
        session = replace(session, scope="")
        await here.warden.watch(session)
        until(lambda: read_stat(tool_pid).comm == "sleep", "it runs")
        ending = await here.warden.end(session, await here.look(session))
        assert ending.how == f"kept: 'sleep' ({tool_pid}) started"
        assert is_alive(tool_pid)
        assert (await here.warden.end(session, None)).is_ended


async def test_what_comes_into_its_scope_after_the_last_look_keeps_it(tmp_path: Path, scope: Path) -> None:
    async with scene(tmp_path) as here:
        script = within(scope, f"echo $$; read line; (setsid {tool()} &); read line")
        session, (leader,) = await started(here, script, 1)
        look = await here.look(session)
        here.programs.write_line(leader, "")
        tool_pid = here.programs.adopt(int(here.programs.read_line(leader)))
        ending = await here.warden.end(session, look)
        assert ending.how == "kept: its children changed"
        assert is_alive(tool_pid)
        assert (await here.warden.end(session, None)).is_ended


async def test_a_scope_with_another_session_in_it_is_kept(tmp_path: Path, scope: Path) -> None:
    async with scene(tmp_path) as here:
        session, _ = await started(here, within(scope, f"{tool(DEAF)} & read line"), 1)
        beside = here.start(within(scope, "read line"))
        until(lambda: str(beside) in (scope / "cgroup.procs").read_text().split(), "it is in the scope")
        ending = await here.warden.end(session, None)
        assert ending.how == f"kept: another session, 'scribe' ({beside}), runs within it"


async def test_leftovers_are_found_by_their_scope(tmp_path: Path, scope: Path) -> None:
    async with scene(tmp_path) as here:
        session, (left,) = await started(here, within(scope, f"(setsid {tool()} &); read line"), 1)
        assert session.leader
        here.programs.end(session.leader.pid)
        here.warden.unwatch(session.id)
        (found,) = await here.warden.leftovers([session])
        assert found.process.pid == left
        assert (await here.warden.end_leftovers([found])).is_ended


# What is left of sessions that ended


@pytest.mark.usefixtures("_wait_not_for_the_deaf")
async def test_leftovers_are_found_by_their_mark_and_ended(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session, (left,) = await started(here, f"({MARK} setsid {tool(DEAF)} &); read line", 1)
        assert session.leader
        here.programs.end(session.leader.pid)
        here.warden.unwatch(session.id)
        (found,) = await here.warden.leftovers([session])
        assert (found.session, found.process.pid, found.name) == (session.id, left, "sleep")
        assert found.memory > 0
        ending = await here.warden.end_leftovers([found])
        assert (ending.is_ended, ending.how) == (True, "SIGKILL")
        assert not is_alive(left)
        assert await here.warden.leftovers([session]) == []


async def test_what_a_live_session_owns_is_no_leftover(tmp_path: Path) -> None:
    """The same conversation, resumed: its tools have the mark of both."""
    async with scene(tmp_path) as here:
        session, _ = await started(here, "read line", 0, "before")
        assert session.leader
        here.programs.end(session.leader.pid)
        here.warden.unwatch(session.id)
        session = replace(session, agent_session_id=OURS)
        script = f"(SCRIBE_SESSION={OURS} setsid {tool()} &); read line"
        again, _ = await started(here, script, 1, "again")
        await here.warden.watch(replace(again, agent_session_id=OURS))
        assert await here.warden.leftovers([session]) == []
        here.warden.unwatch(again.id)  # now it is an agent that nobody registered
        assert await here.warden.leftovers([session]) == []


# On a screen


def screen(server: TmuxServer, pane: str) -> str:
    return server.run("capture-pane", "-p", "-t", pane)


async def in_pane(here: Scene, server: TmuxServer, *command: str) -> tuple[Session, str]:
    pane = server.pane(*command)
    until(lambda: "READY" in screen(server, pane), "it runs")
    pids = Table.read()
    top = int(server.about(pane, "pane_pid"))
    scribes = [row.pid for row in (pids.rows[top], *pids.descendants(top)) if row.comm == "scribe"]
    session = await here.session(scribes[0], OURS)
    nasty = "#(touch owned) $(touch owned) \x1b]0;x\x07;"
    return replace(session, title=nasty, ending="reaped", resume_command=("true",), cwd="/"), pane


def has_file(directory: Path, name: str) -> bool:
    return any(directory.rglob(name))


def a_shell(server: TmuxServer, here: Scene, script: str) -> str:
    """A pane with an interactive shell, into which the agent is typed."""
    pane = server.pane("env", "PS1=$ ", "bash", "--norc", "--noprofile", "-i")
    until(lambda: screen(server, pane).strip() == "$", "its prompt is shown")
    server.run("send-keys", "-t", pane, f"{here.scribe} -c '{script}'", "Enter")
    return pane


async def test_the_pane_stays_and_tells(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            session, pane = await in_pane(here, server, str(here.scribe), "-c", "echo READY; read line; :")
            assert (await here.warden.end(session, None)).is_ended
            until(lambda: "Press r" in screen(server, pane), "the notice is shown")
            assert f"session   {OURS}" in screen(server, pane)
            assert "it was idle, and memory ran short" in screen(server, pane)
            assert "#(touch owned) $(touch owned)" in screen(server, pane)
            assert server.about(pane, "pane_dead") == "0"
            assert server.run("show-options", "-p", "-t", pane) == ""
            server.run("send-keys", "-t", pane, "x")
            until(lambda: server.about(pane, "pane_current_command") == "sh", "a shell")
            until(lambda: "Press r" not in read_facts(int(server.about(pane, "pane_pid"))).argv, "a shell")
            assert is_alive(server.pid)
            assert not has_file(tmp_path, "owned")


@pytest.mark.usefixtures("_wait_not_for_the_deaf")
async def test_what_did_not_end_has_its_pane_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "KILL_PATIENCE", 0.1)
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            session, pane = await in_pane(here, server, str(here.scribe), "-c", "echo READY; read line; :")
            monkeypatch.setattr(kill, "send", lambda held, number: None)
            monkeypatch.setattr(ways, "send", lambda held, number: None)
            ending = await here.warden.end(session, None)
            assert not ending.is_ended
            assert server.run("show-options", "-p", "-t", pane) == ""
            assert "READY" in screen(server, pane)


async def test_the_shell_it_was_started_from_survives_with_the_way_back_typed(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            pane = a_shell(server, here, "echo READY; read line; :")
            until(lambda: "\nREADY" in screen(server, pane), "it runs")
            top = int(server.about(pane, "pane_pid"))
            (pid,) = (row.pid for row in Table.read().descendants(top) if row.comm == "scribe")
            session = replace(await here.session(pid, OURS), ending="reaped", resume_command=("true",))
            assert (await here.warden.end(session, None)).is_ended
            until(lambda: screen(server, pane).endswith(f"musterctl resume {OURS}"), "it is typed")
            notice = screen(server, pane).splitlines()[-2]
            assert notice.startswith(f"musterd ended session {OURS} at ")
            assert is_alive(top)
            assert is_alive(server.pid)


async def test_what_it_left_on_the_screen_is_no_part_of_the_way_back(tmp_path: Path) -> None:
    """Killed in its pane, it leaves its last screen: the prompt is where its cursor was."""
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            shown = (
                r'printf %s\\n READY "" "" left left left; printf \\033[5A'  # its shell says "Terminated"
            )
            pane = a_shell(server, here, f"{shown}; read line; :")
            until(lambda: "\nREADY\n\n\nleft\nleft\nleft" in screen(server, pane), "it runs")
            server.run("resize-window", "-t", pane, "-x", "26")
            top = int(server.about(pane, "pane_pid"))
            (pid,) = (row.pid for row in Table.read().descendants(top) if row.comm == "scribe")
            session = replace(await here.session(pid, OURS), ending="reaped", resume_command=("true",))
            assert (await here.warden.end(session, None)).is_ended
            until(lambda: screen(server, pane).replace("\n", "").endswith(OURS), "it is typed, and no more")


async def test_a_draft_at_the_prompt_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PROMPT_PATIENCE", 2.0)
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            pane = a_shell(server, here, "echo READY; read line; :")
            until(lambda: "\nREADY" in screen(server, pane), "it runs")
            top = int(server.about(pane, "pane_pid"))
            (pid,) = (row.pid for row in Table.read().descendants(top) if row.comm == "scribe")
            session = replace(await here.session(pid, OURS), ending="reaped", resume_command=("true",))
            server.run("send-keys", "-t", pane, "-l", "rm")
            assert (await here.warden.end(session, None)).is_ended
            until(lambda: screen(server, pane).endswith("$ rm"), "the shell has what was typed")
            assert "musterctl" not in screen(server, pane)


async def test_nobody_waits_for_a_prompt_in_a_pane_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("PROMPT_PATIENCE", "NOTICE_PATIENCE"):
        monkeypatch.setattr(telling, patience, 1e6)
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            pane = server.pane("sh", "-c", f"{here.scribe} -c 'echo READY; read line; :'; :")
            until(lambda: "READY" in screen(server, pane), "it runs")
            top = int(server.about(pane, "pane_pid"))
            (pid,) = (row.pid for row in Table.read().descendants(top) if row.comm == "scribe")
            session = replace(await here.session(pid, OURS), ending="reaped", resume_command=("true",))
            assert (await here.warden.end(session, None)).is_ended


@pytest.mark.parametrize(
    ("shown", "is_empty"),
    [
        ("\u203a Ask Codex to do anything", True),
        ("\u203a a draft", False),
        ("$ less notes.txt", False),
        ("", False),
    ],
)
def test_only_into_an_empty_composer_that_is_seen_may_be_typed(shown: str, is_empty: bool) -> None:
    assert is_composer_empty(Codex(), shown) is is_empty


@pytest.mark.parametrize(
    ("shown", "is_ours"),
    [
        ("\u203a /quit", True),
        ("\u203a Ask Codex to do anything\n/quit", True),
        ("\u203a explain /quit", False),
        ("\u203a /quit now", False),
        ("how do I leave? /quit\n\n\u203a Ask Codex to do anything", False),
        ("how do I leave? /quit\n\n\u203a a draft", False),
        ("$ echo /quit", False),
        ("", False),
    ],
)
def test_only_our_own_word_is_erased(shown: str, is_ours: bool) -> None:
    assert is_all_of_draft(Codex(), shown, "/quit") is is_ours


@asynccontextmanager
async def codex_in_pane(tmp_path: Path) -> AsyncIterator[tuple[LocalWarden, TmuxServer, str, Session]]:
    """Its warden, the server, its pane, and its session, which is not watched yet."""
    home = tmp_path / "codex"
    command = install_codex(tmp_path / "agent")
    warden = LocalWarden(os.getuid(), [Codex()], HostClock(), str(tmp_path), interval=None)
    try:
        with TmuxServer(tmp_path) as server:
            pane = server.pane("env", f"CODEX_HOME={home}", *command)
            until(lambda: "Ask Codex" in screen(server, pane), "it runs")
            leader = await warden.leader(int(server.about(pane, "pane_pid")), Agent.CODEX)
            yield warden, server, pane, session_of(leader, OURS)
    finally:
        await warden.close()


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_an_interrupted_end_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    """Stopped between the word and its Enter, in good order or by a crash."""
    monkeypatch.setattr(composer, "PASTE_PAUSE", PATIENCE)
    async with codex_in_pane(tmp_path) as (warden, server, pane, session):
        if is_cancelled:
            await warden.watch(session)
            end = asyncio.ensure_future(warden.end(session, None))
            await _until(lambda: "/quit" in screen(server, pane), "it is typed")
            end.cancel()
            await asyncio.wait([end])
        else:
            server.run("send-keys", "-t", pane, "-l", "/quit")
            until(lambda: "/quit" in screen(server, pane), "it is typed")
            await warden.watch(replace(session, ending="reaped"))
        until(lambda: "/quit" not in screen(server, pane), "it is erased")
        assert session.leader
        assert is_alive(session.leader.pid)


@pytest.mark.parametrize(
    ("is_behind", "is_reap", "how"),
    [
        (False, True, "kept: somebody types in it, or may"),
        (True, True, "kept: somebody types in it, or may"),
        (True, False, "SIGTERM"),
    ],
    ids=["before our word", "behind our word", "behind our word, ordered"],
)
async def test_whoever_begins_to_type_at_the_last_moment_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_behind: bool, is_reap: bool, how: str
) -> None:
    """Its last look has seen an empty composer. Only an order goes on."""
    draft, done = "x" if is_behind else "\u203a dr", list[str]()

    async with codex_in_pane(tmp_path) as (warden, server, pane, session):

        def type_it() -> None:
            if not done:
                done.append(draft)
                server.run("send-keys", "-t", pane, "-l", draft)
                wanted = f"/quit{draft}" if is_behind else draft
                until(lambda: wanted in screen(server, pane), "it is typed")

        def is_shown(shown: str, text: str) -> int:
            if count := composer_shows(shown, text):
                type_it()
            return count

        def is_empty(adapter: Adapter, shown: str) -> bool:
            type_it()
            return composer_is_empty(adapter, screen(server, pane))

        composer_shows, composer_is_empty = composer.shown, composer.is_composer_empty
        if is_behind:
            monkeypatch.setattr(composer, "shown", is_shown)
        else:
            monkeypatch.setattr(composer, "is_composer_empty", is_empty)
        await warden.watch(session)
        look = (await warden.observe([session], screens=True))[session.id]
        # It has read from its terminal when it began, which may have been a key stroke for seconds.
        look = replace(look, presence=Presence(attached=False, last_input=look.at + 3600 * USEC_PER_SEC))
        ending = await warden.end(session, look if is_reap else None)
        assert done, ending
        assert (ending.how, ending.was_kept) == (how, is_reap)
        assert session.leader
        assert is_alive(session.leader.pid) is is_reap


# It says when it has its handler.
LISTENS = 'sleep 60 & trap "{}" USR2; echo $$; while :; do wait; done'

LEAVING = [
    ("one that leaves", LISTENS.format("kill $!; exit"), True, (True, "SIGUSR2")),
    ("one that takes its time", LISTENS.format("sleep 2; kill $!; exit"), True, (True, "SIGUSR2")),
    ("one that leaves, ordered", LISTENS.format("kill $!; exit"), False, (True, "SIGUSR2")),
    ("one that stays", LISTENS.format(":"), True, (False, "kept: it was asked to leave, and stayed")),
    ("one that stays, ordered", LISTENS.format(":"), False, (True, "SIGTERM")),
    ("one that does not listen", "echo $$; read line", True, (True, "SIGTERM")),
    ("one that is deaf to it", 'trap "" USR2; echo $$; read line', True, (True, "SIGTERM")),
]


@pytest.mark.parametrize(
    ("script", "is_reap", "how"), [row[1:] for row in LEAVING], ids=[row[0] for row in LEAVING]
)
async def test_one_that_can_be_asked_to_leave_decides_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, is_reap: bool, how: tuple[bool, str]
) -> None:
    """Unless somebody ordered its end; and only if it listens: of that signal it would die otherwise."""
    monkeypatch.setattr(Scribe, "leaves_on", "SIGUSR2")
    if how[1] == "SIGUSR2":
        monkeypatch.setattr(ways, "TOOLS_PATIENCE", PATIENCE)
        monkeypatch.setattr(ways, "QUIT_PATIENCE", 0.5 if is_reap else PATIENCE)
    else:
        monkeypatch.setattr(ways, "QUIT_PATIENCE", 0.5)
        monkeypatch.setattr(ways, "LEAVE_PATIENCE", 0.5)
    async with scene(tmp_path) as here:
        session, (pid,) = await started(here, script, 1)
        # Not before what is below it is what it stays: what becomes another program is a change.
        until(lambda: all(row.comm == "sleep" for row in Table.read().descendants(pid)), "it sleeps")
        look = await here.look(session, screens=True) if is_reap else None
        ending = await here.warden.end(session, look)
        assert (ending.is_ended, ending.how) == how
        assert session.leader
        assert is_alive(session.leader.pid) is not ending.is_ended


async def _until(look: Callable[[], bool], what: str) -> None:
    """As `until`, while the loop turns."""
    await asyncio.to_thread(until, look, what)


@pytest.mark.parametrize("is_draft", [False, True])
async def test_one_that_has_a_word_for_it_is_told_so(tmp_path: Path, is_draft: bool) -> None:
    """Only where nothing else is typed; otherwise it has to be a signal."""
    async with codex_in_pane(tmp_path) as (warden, server, pane, session):
        session = replace(session, ending="terminated")
        await warden.watch(session)
        if is_draft:
            server.run("send-keys", "-t", pane, "-l", "\u203a dr")
            until(lambda: "\u203a dr" in screen(server, pane), "it is typed")
        ending = await warden.end(session, None)
        assert (ending.is_ended, ending.how) == (True, "SIGTERM" if is_draft else "/quit")
        until(lambda: "somebody ordered it" in screen(server, pane), "the notice is shown")
