"""Ended sessions come back: in their pane if it waits for them, or else in a new window, or a new server."""

import asyncio
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from helpers.programs import PATIENCE, Programs, until
from helpers.scribe import Scene, scene, session_of
from helpers.tmux import TmuxServer
from musterd.agents.base import ProcessFacts
from musterd.core.errors import Failed, NotResumable
from musterd.core.session import Agent, Session, SessionId
from musterd.host import tmux
from musterd.host.panes import Panes, Place
from musterd.host.process import read_environ, read_facts, read_stat
from musterd.host.table import Table
from musterd.host.terminal import parse_terminal, tmux_terminal
from musterd.host.tmux import escape
from musterd.host.tty import foreground
from musterd.host.workers import Workers
from musterd.warden import prompt
from musterd.warden.prompt import is_empty_prompt, waiting_shell
from musterd.warden.revive import way_of_starting
from musterd.warden_port import Appeared, Gone, Leader

DASH = ("/bin/sh",)
ANGLE = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
BASH = ("bash", "--norc", "--noprofile")
ZSH = ("zsh", "-f")
FISH = ("fish",)


@pytest.fixture(autouse=True)
def no_other_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own tmux and systemd are none of a test's business."""
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TmuxServer]:
    with TmuxServer(tmp_path) as server:
        yield server


@dataclass
class Stage:
    """A scribe in a pane of a server, which ends when it is told to."""

    here: Scene
    server: TmuxServer
    work: Path

    @property
    def program(self) -> str:
        return str(self.here.scribe)

    @property
    def script(self) -> str:
        return f"cd {shlex.quote(str(self.work))}; sleep 1000; :"

    def pane(self, *command: str, **environ: str) -> str:
        path = f"{self.here.home}/bin:{os.environ['PATH']}"
        pairs = {"PATH": path, "PS1": "here$ ", "HOME": str(self.here.home), **environ}
        words = ("env", *(f"{name}={value}" for name, value in pairs.items()), *command)
        return self.server.pane(*map(escape, words))

    async def ended(self, pane: str, **changes: Any) -> Session:
        """The session of the scribe in that pane, once it was ended."""
        pid = until(lambda: self.scribe_of(pane), "it runs")
        until(lambda: read_facts(pid).cwd == str(self.work), "it is in its directory")
        leader = await self.here.warden.leader(pid, None)
        session = replace(
            session_of(leader, "k3v9qd"),
            command=leader.facts.argv,
            resume_command=("scribe", "-c", "sleep 1000; :", "resume;"),
            **changes,
        )
        assert session.terminal == tmux_terminal(self.server.socket, pane)
        await self.here.warden.watch(session)
        (tool,) = until(lambda: Table.read().descendants(pid), "it sleeps")
        for process in (pid, tool.pid):
            with suppress(ProcessLookupError):  # with its pane
                os.kill(process, signal.SIGKILL)
        await self.here.event(Gone)
        self.here.warden.unwatch(session.id)
        return session

    async def gone(self) -> tuple[Session, list[str]]:
        """One that ended together with its pane, and the panes that are left."""
        pane = self.pane(self.program, "-c", self.script)
        session = await self.ended(pane)
        until(lambda: pane not in self.panes(), "the pane is gone")
        return session, self.panes()

    def scribe_of(self, pane: str) -> int:
        """The scribe that the pane's program is, or that runs below it."""
        top = int(self.server.about(pane, "pane_pid"))
        rows = [top, *(row.pid for row in Table.read().descendants(top))]
        return next((pid for pid in rows if _runs(pid, self.program)), 0)

    async def returned(self) -> Leader:
        """What was told of as the one that came back."""
        while not (leader := (await self.here.event(Appeared)).leader).mark:
            pass
        return leader

    def type_in(self, pane: str, *keys: str) -> None:
        self.server.run("send-keys", "-t", pane, *keys)

    def shown(self, pane: str, text: str) -> None:
        until(lambda: text in self.server.run("capture-pane", "-p", "-t", pane), f"'{text}' is shown")

    def flat(self, pane: str) -> str:
        """What a pane shows, in one line however narrow it is."""
        rows = self.server.run("capture-pane", "-p", "-t", pane).splitlines()
        return "".join(row.ljust(int(self.server.about(pane, "pane_width"))) for row in rows).rstrip()

    def waits(self, pane: str) -> None:
        """Until the shell is at its prompt, with nothing behind it."""
        top = int(self.server.about(pane, "pane_pid"))
        until(
            lambda: foreground(top) == top and self.flat(pane).endswith("here$"), "it has its prompt again"
        )

    def panes(self) -> list[str]:
        return self.server.run("list-panes", "-a", "-F", "#{pane_id}").split()


def _runs(pid: int, program: str) -> bool:
    try:
        return read_facts(pid).executable == program
    except ProcessLookupError:
        return False


@asynccontextmanager
async def stage(home: Path, server: TmuxServer, *, bus: str = "system") -> AsyncIterator[Stage]:
    work = home / "a dir; with 'quotes' and #(touch formats)"
    work.mkdir()
    functions = home / ".config" / "fish" / "functions"
    functions.mkdir(parents=True)
    (functions / "fish_prompt.fish").write_text("function fish_prompt; echo -n 'here$ '; end")
    (functions / "fish_greeting.fish").write_text("function fish_greeting; end")
    # Where that is missing, it reads all manual pages behind its prompt: for a minute, on a busy machine.
    (home / ".local" / "share" / "fish" / "generated_completions").mkdir(parents=True)
    async with scene(home, bus=bus) as here:
        yield Stage(here, server, work)


async def shell_session(on: Stage, *shell: str) -> tuple[str, Session]:
    """A session that was started from a shell, which has its prompt again."""
    pane = on.pane(*shell)
    on.shown(pane, "here$")
    on.type_in(pane, shlex.join(["scribe", "-c", on.script]), "Enter")
    session = await on.ended(pane)
    on.waits(pane)
    return pane, session


# In its pane


async def test_a_dead_pane_is_used_again(tmp_path: Path, server: TmuxServer) -> None:
    async with stage(tmp_path, server) as on:
        server.run("set-option", "-g", "remain-on-exit", "on")
        pane = on.pane(on.program, "-c", on.script)
        session = await on.ended(pane)
        until(lambda: server.about(pane, "pane_dead") == "1", "the pane is dead")
        await on.here.warden.resume(session)
        leader = await on.returned()
        assert (leader.mark, leader.terminal) == ("k3v9qd", session.terminal)
        assert (leader.facts.cwd, leader.facts.argv) == (str(on.work), session.resume_command)


@pytest.mark.parametrize("word", ["k3v9qd", "other"])
async def test_a_pane_with_our_notice_of_that_session_is_used_again(
    tmp_path: Path, server: TmuxServer, word: str
) -> None:
    async with stage(tmp_path, server) as on:
        pane = on.pane(on.program, "-c", on.script)
        server.run("set-option", "-g", "remain-on-exit", "on")
        session = await on.ended(pane)
        until(lambda: server.about(pane, "pane_dead") == "1", "the pane is dead")
        server.run("respawn-pane", "-t", pane, "sh", "-c", "read key; :", "musterd-notice", word)
        await on.here.warden.resume(session)
        leader = await on.returned()
        assert (leader.terminal == session.terminal) == (word == session.id)
        assert on.panes().count(pane) == 1


@pytest.mark.parametrize("shell", [BASH, DASH, ZSH, FISH])
async def test_a_shell_at_its_prompt_starts_it(
    tmp_path: Path, server: TmuxServer, shell: tuple[str, ...]
) -> None:
    async with stage(tmp_path, server) as on:
        pane, session = await shell_session(on, *shell)
        await on.here.warden.resume(session)
        leader = await on.returned()
        assert leader.terminal == session.terminal
        assert leader.facts.ppid == int(server.about(pane, "pane_pid"))
        assert (leader.facts.cwd, leader.facts.argv) == (str(on.work), session.resume_command)
        assert not (tmp_path / "formats").exists()


async def test_a_shell_that_is_in_its_directory_already_stays_there(
    tmp_path: Path, server: TmuxServer
) -> None:
    async with stage(tmp_path, server) as on:
        pane, session = await shell_session(on, *BASH)
        on.type_in(pane, f"cd {shlex.quote(str(on.work))}; clear", "Enter")
        until(lambda: read_facts(int(server.about(pane, "pane_pid"))).cwd == str(on.work), "it is there")
        await on.here.warden.resume(session)
        await on.returned()
        typed = "env MUSTERD_SESSION=k3v9qd scribe -c 'sleep 1000; :' 'resume;'"
        on.shown(pane, f"here$ {typed}")


async def test_a_shell_that_waits_for_the_order_to_resume_starts_it(
    tmp_path: Path, server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who types `musterctl resume` into the pane has it in the way, until it leaves."""
    monkeypatch.setattr(prompt, "PROMPT_WAIT", PATIENCE)
    async with stage(tmp_path, server) as on:
        pane, session = await shell_session(on, *BASH)
        order_in(on, pane)
        resume = asyncio.ensure_future(on.here.warden.resume(session))
        (on.work / "fifo").write_text("go\n")
        await resume
        assert (await on.returned()).terminal == session.terminal


class Watched(Panes):
    """Counts how often somebody looked at a pane."""

    looks = 0

    async def place(self, pane: str) -> Place | None:
        self.looks += 1
        return await super().place(pane)


async def looked(panes: Watched, times: int, waiting: "asyncio.Future[ProcessFacts | None]") -> None:
    while panes.looks < times:
        assert not waiting.done(), "it did not wait"
        await asyncio.sleep(0.01)


def order_in(on: Stage, pane: str) -> int:
    """Its shell runs an order to resume, until something is written to `fifo`; that shell."""
    order = on.work / "musterctl"
    order.write_text("read line < fifo\n")
    os.mkfifo(on.work / "fifo")
    on.type_in(pane, f"cd {shlex.quote(str(on.work))}", "Enter", f"sh {order.name} resume k3v9qd", "Enter")
    top = int(on.server.about(pane, "pane_pid"))
    until(lambda: "resume" in front_of(top), "it has the terminal")
    return read_stat(foreground(top)).ppid


def front_of(shell: int) -> tuple[str, ...]:
    try:
        return read_facts(foreground(shell)).argv
    except ProcessLookupError:
        return ()


async def test_an_order_that_has_ended_is_not_in_front_for_good(
    tmp_path: Path, server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it takes a while until its shell has the terminal back."""
    monkeypatch.setattr(prompt, "PROMPT_WAIT", 60.0)
    async with stage(tmp_path, server) as on:
        pane = on.pane("sh", "-c", f"{shlex.join(BASH)}; :")  # tmux continues what it started itself
        on.shown(pane, "here$")
        shell = order_in(on, pane)
        order = foreground(shell)
        os.kill(shell, signal.SIGSTOP)
        until(lambda: read_stat(shell).state == "T", "it is stopped")
        (on.work / "fifo").write_text("go\n")
        until(lambda: read_stat(order).has_ended, "it is a zombie")
        panes = Watched(server.socket, os.getuid())
        waiting = asyncio.ensure_future(waiting_shell(panes, pane, Workers()))
        await looked(panes, 3, waiting)
        os.kill(shell, signal.SIGCONT)
        found = await waiting
        assert found
        assert found.pid == shell


async def test_an_order_in_front_is_waited_for_longer(
    tmp_path: Path, server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves for sure."""
    monkeypatch.setattr(prompt, "PROMPT_WAIT", 0.0)
    monkeypatch.setattr(prompt, "ORDER_WAIT", 60.0)
    async with stage(tmp_path, server) as on:
        pane = on.pane(*BASH)
        on.shown(pane, "here$")
        shell = order_in(on, pane)
        panes = Watched(server.socket, os.getuid())
        waiting = asyncio.ensure_future(waiting_shell(panes, pane, Workers()))
        await looked(panes, 3, waiting)
        (on.work / "fifo").write_text("go\n")
        found = await waiting
        assert found
        assert found.pid == shell


async def test_a_program_in_front_is_not_waited_for(
    tmp_path: Path, server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt, "PROMPT_WAIT", 60.0)
    async with stage(tmp_path, server) as on:
        pane = on.pane("cat")
        until(lambda: front_of(int(server.about(pane, "pane_pid"))) == ("cat",), "it runs")
        panes = Watched(server.socket, os.getuid())
        assert await waiting_shell(panes, pane, Workers()) is None
        assert panes.looks == 1


LONG_BUS = "unix:path=/run/a/very/long/way/to/the/bus/of/somebody/who/likes/long/ways/bus_socket"


@pytest.mark.parametrize("width", [300, 80, 33, 11])
@pytest.mark.parametrize("shell", [BASH, DASH, ZSH, FISH], ids=["bash", "dash", "zsh", "fish"])
async def test_a_shell_with_our_offer_at_its_prompt_starts_it_however_long_that_is(
    tmp_path: Path, server: TmuxServer, shell: tuple[str, ...], width: int
) -> None:
    """Whoever resumes it from elsewhere need not clear it away first."""
    async with stage(tmp_path, server, bus=LONG_BUS) as on:
        pane = on.pane(*shell)
        server.run("resize-window", "-t", pane, "-x", str(width), "-y", "24")
        on.shown(pane, "here$")
        on.type_in(pane, shlex.join(["scribe", "-c", on.script]), "Enter")
        pid = until(lambda: on.scribe_of(pane), "it runs")
        until(lambda: read_facts(pid).cwd == str(on.work), "it is in its directory")
        again = ("scribe", "-c", "sleep 1000; :", "resume;")
        running = session_of(await on.here.warden.leader(pid, None), "k3v9qd")
        session = replace(running, ending="reaped", command=again, resume_command=again)
        await on.here.warden.watch(session)
        assert (await on.here.warden.end(session, None)).is_ended
        on.here.warden.unwatch(session.id)
        until(lambda: on.flat(pane).endswith("resume k3v9qd"), "the offer is there")
        await on.here.warden.resume(session)
        leader = await on.returned()
        assert (leader.terminal, leader.facts.argv) == (session.terminal, again)


# In a window of its own


def has_file(directory: Path, name: str) -> bool:
    return any(directory.rglob(name))


DRAFTS = {
    "a draft": ("rm -r",),
    "a draft that ends like a prompt": ("touch owned; echo 50%",),
    "a command that goes on": ("touch owned &&", "Enter"),
    "an open quote": ("touch owned; echo '", "Enter"),
    "an open loop": ("while touch owned", "Enter"),
}
IN_FRONT = {
    "a program": ("cat", "Enter"),
    "a question of the shell": ("read -p 'sure? > '", "Enter"),
    "a script": ("sh -c 'read line; :'", "Enter"),
}


@pytest.mark.parametrize(
    ("shell", "keys"),
    [
        *(
            pytest.param(shell, DRAFTS[name], id=f"{shell[0]}: {name}")
            for shell in (BASH, ZSH, FISH)
            for name in DRAFTS
        ),
        *(pytest.param(DASH, DRAFTS[name], id=f"sh: {name}") for name in list(DRAFTS)[2:]),
        *(pytest.param(BASH, keys, id=name) for name, keys in IN_FRONT.items()),
        pytest.param(ZSH, ("select x in a b; do touch owned; done", "Enter"), id="zsh: a choice"),
        pytest.param(FISH, ("read x", "Enter"), id="fish: a question"),
    ],
)
async def test_a_shell_that_is_busy_is_left_alone(
    tmp_path: Path, server: TmuxServer, shell: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    """Nothing that stands there is run, and nothing is lost."""
    async with stage(tmp_path, server) as on:
        pane, session = await shell_session(on, *shell)
        on.type_in(pane, "clear", "Enter")
        until(lambda: server.run("capture-pane", "-p", "-t", pane) == "here$", "it is clear")
        on.type_in(pane, *keys)
        on.shown(pane, keys[0])
        before = _settled(server, pane)
        panes = on.panes()
        await on.here.warden.resume(session)
        leader = await on.returned()
        assert leader.terminal not in [tmux_terminal(server.socket, known) for known in panes]
        assert (leader.facts.cwd, leader.facts.argv) == (str(on.work), session.resume_command)
        assert server.run("capture-pane", "-p", "-t", pane) == before
        assert not has_file(tmp_path, "owned")


def _settled(server: TmuxServer, pane: str) -> str:
    """What a pane shows once that is the same for a while, in which none of its programs is at work."""
    top = int(server.about(pane, "pane_pid"))
    seen: list[tuple[str, bool]] = []

    def is_same() -> bool:
        table = Table.read()
        is_at_work = any(row.state in "RD" for row in (table.rows[top], *table.descendants(top)))
        seen.append((server.run("capture-pane", "-p", "-t", pane), is_at_work))
        return len(seen) >= 30 and all(look == (seen[-1][0], False) for look in seen[-30:])

    until(is_same, "it is still")
    return seen[-1][0]


@pytest.mark.parametrize("mode", ["copy-mode", "synchronize-panes"])
async def test_nothing_is_typed_where_it_would_go_elsewhere(
    tmp_path: Path, server: TmuxServer, mode: str
) -> None:
    async with stage(tmp_path, server) as on:
        pane, session = await shell_session(on, *BASH)
        way = [mode, "-t", pane] if mode == "copy-mode" else ["set-option", "-w", "-t", pane, mode, "on"]
        server.run(*way)
        await on.here.warden.resume(session)
        assert (await on.returned()).terminal != session.terminal


async def test_a_pane_that_is_gone_gets_a_new_window(tmp_path: Path, server: TmuxServer) -> None:
    async with stage(tmp_path, server) as on:
        session, _ = await on.gone()
        await on.here.warden.resume(session)
        leader = await on.returned()
        place = parse_terminal(leader.terminal)
        assert place
        assert place[0] == server.socket
        assert (leader.facts.cwd, leader.facts.argv) == (str(on.work), session.resume_command)
        assert not (tmp_path / "formats").exists()


async def test_a_server_that_is_slow_is_still_its_server(
    tmp_path: Path, server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine: it answers later than anybody who only looks would wait."""
    monkeypatch.setattr(tmux, "TIMEOUT", 0.1)
    async with scene(tmp_path) as here:
        on = Stage(here, server, tmp_path)
        session = Session(
            SessionId("k3v9qd"), Agent.PI, os.getuid(), None, cwd=str(tmp_path),
            terminal=tmux_terminal(server.socket, "%99"), resume_command=(on.program, "-c", "sleep 1000; :"),
        )  # fmt: skip
        server.stop()
        resume = asyncio.ensure_future(here.warden.resume(session))
        await asyncio.sleep(0.5)
        assert not resume.done()
        os.kill(server.pid, signal.SIGCONT)
        await resume
        monkeypatch.setattr(tmux, "TIMEOUT", PATIENCE)
        place = parse_terminal((await on.returned()).terminal)
        assert place
        assert place[0] == server.socket


async def test_a_pane_of_that_number_of_a_later_server_is_another_one(
    tmp_path: Path, server: TmuxServer
) -> None:
    async with stage(tmp_path, server) as on:
        _, session = await shell_session(on, *BASH)
        assert session.leader
        older = replace(session, leader=replace(session.leader, start_ticks=1))
        await on.here.warden.resume(older)
        assert (await on.returned()).terminal != session.terminal


async def test_its_state_comes_along_and_its_keys_do_not(tmp_path: Path, server: TmuxServer) -> None:
    async with stage(tmp_path, server) as on:
        pane = on.pane(on.program, "-c", on.script, CODEX_HOME="/x y;", CODEX_API_KEY="secret")
        session = await on.ended(pane)
        await on.here.warden.resume(session)
        pid = (await on.returned()).process.pid
        wanted = ("CODEX_HOME", "CODEX_API_KEY", "MUSTERD_SESSION", "PATH")
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        assert read_environ(pid, wanted) == {
            "CODEX_HOME": "/x y;", "MUSTERD_SESSION": "k3v9qd", "PATH": path,
        }  # fmt: skip


# Where there is no server


async def without_server(tmp_path: Path, on: Stage) -> Leader:
    """What came back after its server had ended."""
    session = await on.ended(on.pane(on.program, "-c", on.script))
    on.server.end()
    try:
        await on.here.warden.resume(session)
        return await on.returned()
    finally:
        _adopt_server(tmp_path, on.here.programs)


def _adopt_server(tmp_path: Path, programs: Programs) -> None:
    """It was started without us, and is to end with us."""
    ask = ["tmux", "-S", f"{tmp_path}/tmux-{os.getuid()}/default", "display-message", "-p", "#{pid}"]
    pid = programs.adopt(int(subprocess.check_output(ask)))
    for row in Table.read().descendants(pid):
        programs.adopt(row.pid)


async def test_without_a_server_there_is_a_new_one(tmp_path: Path, server: TmuxServer) -> None:
    async with stage(tmp_path, server) as on:
        leader = await without_server(tmp_path, on)
        assert leader.terminal.startswith(f"tmux:{tmp_path}/tmux-{os.getuid()}/default:%")
        assert leader.facts.cwd == str(on.work)
        assert leader.facts.argv == ("scribe", "-c", "sleep 1000; :", "resume;")


RUNNER = """#!/bin/sh
printf '%s\\n' "$@" > {log}
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


async def test_a_new_server_is_not_in_our_cgroup_where_systemd_answers(
    tmp_path: Path, server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = tmp_path / "programs" / "systemd-run"
    runner.parent.mkdir()
    runner.write_text(RUNNER.format(log=tmp_path / "log"))
    runner.chmod(0o755)
    monkeypatch.setenv("PATH", f"{runner.parent}:{os.environ['PATH']}")
    (tmp_path / "systemd").mkdir()
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(tmp_path / "systemd" / "private"))
        manager.listen()
        async with stage(tmp_path, server) as on:
            assert (await without_server(tmp_path, on)).mark == "k3v9qd"
    words = (tmp_path / "log").read_text().splitlines()
    assert words[:2] == ["--user", "--quiet"]
    assert {"--collect", "--property=Type=forking", "--property=OOMPolicy=continue"} < set(words)
    assert words[words.index("--") + 1] == "tmux"


# Refusals, and words


async def test_a_server_would_never_be_in_the_sandbox_of_a_unit(
    tmp_path: Path, server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    async with stage(tmp_path, server) as on:
        session = await on.ended(on.pane(on.program, "-c", on.script))
        on.server.end()
        with pytest.raises(Failed, match=r"start tmux first, .* 'loginctl enable-linger'"):
            await on.here.warden.resume(session)
    assert not (tmp_path / f"tmux-{os.getuid()}").exists()


async def test_a_directory_that_is_gone_is_refused(tmp_path: Path, server: TmuxServer) -> None:
    async with stage(tmp_path, server) as on:
        session, panes = await on.gone()
        on.work.rmdir()
        with pytest.raises(NotResumable, match=r"directory .* is gone"):
            await on.here.warden.resume(session)
        assert on.panes() == panes


async def test_a_program_that_is_gone_is_refused(tmp_path: Path, server: TmuxServer) -> None:
    async with stage(tmp_path, server) as on:
        session, panes = await on.gone()
        with pytest.raises(NotResumable, match="program 'nosuch' is not found"):
            await on.here.warden.resume(replace(session, resume_command=("nosuch", "x")))
        assert on.panes() == panes


async def test_an_agent_within_one_that_came_back_is_not_that_one(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        script = f"{here.scribe} -c 'echo $$; read line; :'"
        outer = here.start(script, environ={"MUSTERD_SESSION": "k3v9qd"})
        inner = int(here.programs.read_line(outer))
        marks = [(await here.warden.leader(pid, None)).mark for pid in (outer, inner)]
        assert marks == ["k3v9qd", ""]


@pytest.mark.parametrize(
    ("line", "column", "empty"),
    [
        ("$", 2, True),
        ("ann@host:~/src$", 16, True),
        ("➜  src git:(main) ✗", 20, False),
        (ANGLE, 2, True),
        ("漢字 %", 7, True),
        ("漢字 %", 5, False),
        (f"{ANGLE}                              12:30", 2, True),
        ("$ make", 6, False),
        ("$ make", 2, False),
        ("$", 6, False),
        ("", 0, False),
        ("password:", 10, False),
        ("host%", 6, True),
        ("ann@host ~>", 12, True),
        ("host% echo 50%", 14, False),
        ("ann@host ~> ls >", 17, False),
        (">", 2, False),
        ("dquote>", 8, False),
        ("cmdand dquote>", 15, False),
        ("read>", 6, False),
        ("?#", 3, False),
    ],
)
def test_an_empty_prompt(line: str, column: int, empty: bool) -> None:
    assert is_empty_prompt(line, column) == empty


def test_how_a_program_was_started(tmp_path: Path) -> None:
    for name in ("codex", "node"):
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "cli.js").touch()
    node, script, codex = (str(tmp_path / name) for name in ("node", "cli.js", "codex"))
    cases = {
        (("node", "--heap=1", script, "hello"), node): [node, script],
        (("node", "cli.js"), node): [node, script],
        (("node", "gone.js"), node): [],
        (("pi", "", ""), node): [],
        ((codex, "hello"), "/gone"): [codex],
        (("codex", "hello"), codex): [codex],
        (("codex",), "/gone"): [],
        ((), ""): [],
    }
    for (command, executable), way in cases.items():
        assert way_of_starting(command, executable, str(tmp_path)) == way, command
