"""What tmux shows, on a real server; and what a tty tells by itself."""

import asyncio
import os
import pty
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.programs import PATIENCE, Programs, until
from helpers.tmux import TmuxServer, now
from helpers.wait import until as loop_until
from musterd.core.evidence import Presence, Unknown
from musterd.core.units import USEC_PER_SEC
from musterd.host import tmux
from musterd.host.process import read_facts, read_stat
from musterd.host.terminal import Terminals, parse_terminal, tmux_terminal
from musterd.host.tmux import Pane, Server, Unanswered, parse_panes, split_screens
from musterd.host.tty import GRANULARITY, last_input, tty_path

UID = os.getuid()
WANTED = ("TMUX", "TMUX_PANE")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TmuxServer]:
    with TmuxServer(tmp_path) as server:
        yield server


def shown(server: TmuxServer, pane: str, text: str) -> None:
    until(lambda: text in server.run("capture-pane", "-p", "-t", pane), f"'{text}' is on the screen")


# Words


@pytest.mark.parametrize(
    ("terminal", "place"),
    [
        ("tmux:/tmp/tmux-1000/default:%3", ("/tmp/tmux-1000/default", "%3")),
        ("tmux:/tmp/a:b/c:%12", ("/tmp/a:b/c", "%12")),
        ("tmux:relative:%3", None),
        ("tmux:/tmp/x:3", None),
        ("/dev/pts/4", None),
        ("", None),
    ],
)
def test_a_terminal_is_socket_and_pane(terminal: str, place: tuple[str, str] | None) -> None:
    assert parse_terminal(terminal) == place
    if place:
        assert tmux_terminal(*place) == terminal


def test_a_title_may_say_anything() -> None:
    panes = parse_panes("P %1 10 /dev/pts/1 $0 1 C $0 99 P %2 \nP %2 11 /dev/pts/2 $1 1 \nC $1 5 0\n")
    assert panes["%1"].title == "C $0 99 P %2 "
    assert (panes["%1"].is_attached, panes["%2"].is_attached) == (False, True)
    assert (panes["%2"].title, panes["%2"].typed) == ("", 5 * USEC_PER_SEC)


def test_of_two_sessions_with_one_pane_the_one_that_shows_it_counts() -> None:
    pane = "P %1 10 /dev/pts/1 {} {} title\n"
    text = pane.format("$0", 0) + pane.format("$1", 1) + pane.format("$2", 1) + "C $0 50 0\nC $1 40 0\n"
    seen = parse_panes(text)["%1"]
    assert (seen.is_attached, seen.is_seen, seen.typed) == (True, True, 40 * USEC_PER_SEC)


@pytest.mark.parametrize("text", ["P %1", "P %1 x /dev/pts/1 $0 1 t", "C $1"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one does not matter
        parse_panes(text)


def test_a_screen_that_shows_our_marks_forges_no_other() -> None:
    text = "other %2\nforged\nsecret %1\nreal\nsecret %2\ncut sho"
    assert split_screens(text, "secret") == {"%1": "other %2\nforged\n", "%2": "real\n"}


# A server


async def test_all_panes_come_in_one_call(server: TmuxServer) -> None:
    pane = server.pane("exec sleep 60")
    panes = await Server(server.socket, UID).panes()
    assert panes[pane].pid == int(server.about(pane, "pane_pid"))
    assert panes[pane].tty == server.about(pane, "pane_tty")
    assert not panes[pane].is_attached


async def test_titles_keep_their_signs(server: TmuxServer) -> None:
    server.run("select-pane", "-t", "%0", "-T", "⠸ DIR  |  ✋ two")
    assert (await Server(server.socket, UID).panes())["%0"].title == "⠸ DIR  |  ✋ two"


async def test_all_screens_come_in_one_call(server: TmuxServer) -> None:
    panes = [server.pane(f"echo screen-{number}; sleep 60") for number in range(5)]
    for number, pane in enumerate(panes):
        shown(server, pane, f"screen-{number}")
    screens = await Server(server.socket, UID).screens(panes)
    assert [screens[pane].strip() for pane in panes] == [f"screen-{number}" for number in range(5)]


async def test_panes_that_vanished_cost_no_others(server: TmuxServer) -> None:
    panes = [server.pane(f"echo screen-{number}; sleep 60") for number in range(2)]
    for number, pane in enumerate(panes):
        shown(server, pane, f"screen-{number}")
    screens = await Server(server.socket, UID).screens(["%77", panes[0], "%78", "%79", panes[1]])
    assert set(screens) == set(panes)


async def test_more_screens_than_fit_into_one_call(
    server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tmux, "SCREENS_PER_CALL", 2)
    panes = [server.pane("exec sleep 60") for _ in range(5)]
    assert set(await Server(server.socket, UID).screens(panes)) == set(panes)


async def test_a_hung_server_costs_one_time_out_and_never_the_loop(
    server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tmux, "TIMEOUT", 0.2)
    hung = Server(server.socket, UID)
    server.stop()
    asked = asyncio.ensure_future(hung.panes())
    await loop_until(asked.done)  # the loop turns
    with pytest.raises(Unanswered, match=r"did not answer within 0\.2 s"):
        await asked
    with monkeypatch.context() as patch:
        patch.setattr(tmux, "run", lambda *_: pytest.fail("it is asked again"))
        with pytest.raises(Unanswered, match="a moment ago"):
            await hung.screens(["%0"])
    os.kill(server.pid, signal.SIGCONT)
    monkeypatch.setattr(tmux, "TIMEOUT", PATIENCE)
    assert "%0" in await Server(server.socket, UID).panes()


async def test_a_server_that_writes_without_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "tmux"
    fake.write_text("#!/bin/sh\nexec yes\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(tmux, "OUTPUT_LIMIT", 1000)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(Unanswered, match="more than 1000 bytes"):
            await Server(str(tmp_path / "socket"), UID).panes()


async def test_only_a_socket_of_the_user_is_talked_to(server: TmuxServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, uid in ((tmp_path / "file", UID), (Path(server.socket), UID + 1)):
        with pytest.raises(Unanswered, match="is not a socket of user"):
            await Server(str(path), uid).panes()
    with pytest.raises(Unanswered, match="no tmux socket"):
        await Server(str(tmp_path / "nothing"), UID).panes()


async def test_a_socket_whose_server_is_gone_is_no_server(tmp_path: Path) -> None:
    with TmuxServer(tmp_path) as server:
        pass
    with pytest.raises(Unanswered, match="there is no tmux server"):
        await Server(server.socket, UID).panes()


# Where a process is


async def located(terminals: Terminals, pid: int) -> str:
    facts = read_facts(pid, WANTED)
    return await terminals.locate(facts, {pid, facts.ppid})


async def test_a_process_is_in_the_pane_whose_tty_it_has(server: TmuxServer) -> None:
    pane = server.pane("exec sleep 60")
    pid = int(server.about(pane, "pane_pid"))
    until(lambda: read_stat(pid).comm == "sleep", "it runs")
    terminal = await located(Terminals(UID), pid)
    assert terminal == f"tmux:{server.socket}:{pane}"


async def test_a_tty_that_another_pane_had_a_moment_ago_leads_to_the_new_one(server: TmuxServer) -> None:
    """The kernel gives out the lowest free number, which may be that of a pane that has just gone."""
    pane = server.pane("exec sleep 60")
    pid = int(server.about(pane, "pane_pid"))
    until(lambda: read_stat(pid).comm == "sleep", "it runs")
    terminals = Terminals(UID)
    gone = Pane("%99", 99, server.about(pane, "pane_tty"), "", is_attached=False, is_seen=False, typed=0)
    terminals._panes = {server.socket: (time.monotonic(), {gone.id: gone})}
    assert await located(terminals, pid) == f"tmux:{server.socket}:{pane}"


async def test_a_process_with_a_tty_of_its_own_is_in_the_pane_it_was_started_in(server: TmuxServer) -> None:
    pane = server.pane("script -qc 'sleep 60' /dev/null; sleep 60")
    shell = int(server.about(pane, "pane_pid"))
    script = until(lambda: _child(shell), "script runs")
    inner = until(lambda: _child(script), "its program runs")
    outside = read_stat(shell).tty
    until(lambda: read_stat(inner).tty not in (0, outside), "it has a tty of its own")
    facts = read_facts(inner, WANTED)
    terminal = await Terminals(UID).locate(facts, {inner, script, shell})
    assert terminal == f"tmux:{server.socket}:{pane}"


def _child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


# In a mount namespace: the terminal of that number there, and a program on it.
CONTAINER = """
import fcntl, os, struct, subprocess, sys
directory, number = sys.argv[1:]
subprocess.run(["mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", directory], check=True)
masters = []
while not masters or struct.unpack("I", fcntl.ioctl(masters[-1], 0x80045430, bytes(4)))[0] != int(number):
    masters.append(os.open(directory + "/ptmx", os.O_RDWR | os.O_NOCTTY))
fcntl.ioctl(masters[-1], 0x40045431, bytes(4))
if not (pid := os.fork()):
    os.setsid()
    terminal = os.open(directory + "/" + number, os.O_RDWR)
    for fd in range(3):
        os.dup2(terminal, fd)
    os.execvp("cat", ["cat"])
print(pid, flush=True)
os.waitpid(pid, 0)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount")
async def test_a_terminal_of_a_container_is_no_pane_with_its_number(
    server: TmuxServer, tmp_path: Path
) -> None:
    tty = server.about("%0", "pane_tty")
    (tmp_path / "pts").mkdir()
    run = "unshare", "--mount", sys.executable, "-c", CONTAINER, tmp_path / "pts", tty.rpartition("/")[2]
    with Programs() as programs:
        around = programs.start(*run, environ={"TMUX": f"{server.socket},{server.pid},0"})
        inside = programs.adopt(int(programs.read_line(around)))
        until(lambda: read_stat(inside).comm == "cat", "it runs")
        facts = read_facts(inside, WANTED)
        assert tty_path(facts.tty) == tty
        assert await Terminals(UID).locate(facts, ()) == ""


async def test_the_environment_alone_makes_no_pane(server: TmuxServer) -> None:
    """It is inherited by what has long left the server."""
    with Programs() as programs:
        pid = programs.start("sleep", "60", environ={"TMUX": f"{server.socket},1,0", "TMUX_PANE": "%0"})
        until(lambda: read_facts(pid).argv, "started")
        facts = read_facts(pid, WANTED)
        assert await Terminals(UID).locate(facts, {pid}) == tty_path(facts.tty)


async def test_behind_a_hung_server_the_environment_is_believed(
    server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pane = server.pane("exec sleep 60")
    pid = int(server.about(pane, "pane_pid"))
    until(lambda: read_stat(pid).comm == "sleep", "it runs")
    server.stop()
    monkeypatch.setattr(tmux, "TIMEOUT", 0.1)
    assert await located(Terminals(UID), pid) == f"tmux:{server.socket}:{pane}"


# Who looks at it


async def test_a_pane_nobody_is_attached_to(server: TmuxServer) -> None:
    terminal = f"tmux:{server.socket}:%0"
    presence = (await Terminals(UID).views([terminal]))[terminal].presence
    assert isinstance(presence, Presence)
    assert not presence.attached


async def test_a_key_stroke_of_a_person_is_seen(server: TmuxServer) -> None:
    master = server.attach()
    began = now()
    os.write(master, b"x")
    terminal = f"tmux:{server.socket}:%0"
    shown(server, "%0", "x")
    presence = (await Terminals(UID).views([terminal]))[terminal].presence
    assert isinstance(presence, Presence)
    assert presence.attached
    assert presence.last_input >= began // USEC_PER_SEC * USEC_PER_SEC  # tmux counts whole seconds


async def test_what_send_keys_types_is_no_person(server: TmuxServer) -> None:
    """Somebody is attached and typed long ago; a program types now, into a pane that is not in front."""
    server.attach()
    pane = server.pane("cat")
    old = now() - 3600 * USEC_PER_SEC
    server.run("send-keys", "-t", pane, "x")
    shown(server, pane, "x")
    seen = (await Server(server.socket, UID).panes())[pane]
    assert (seen.is_attached, seen.is_seen) == (True, False)
    os.utime(seen.tty, ns=(old * 1000, now() * 1000))
    terminal = f"tmux:{server.socket}:{pane}"
    presence = (await Terminals(UID).views([terminal]))[terminal].presence
    assert presence == Presence(attached=True, last_input=old + GRANULARITY)


@pytest.mark.parametrize("is_seen", [True, False])
async def test_who_types_through_a_client_in_control_mode_is_seen(server: TmuxServer, is_seen: bool) -> None:
    """A terminal program that shows panes in windows of its own: tmux does not count its keys."""
    pane = "%0" if is_seen else server.pane("cat")
    command = ["tmux", "-u", "-S", server.socket, "-C", "attach", "-t", "main"]
    with Programs() as programs:
        programs.start(*command)
        until(lambda: server.run("list-clients"), "it is attached")
        began = now()
        until(lambda: now() > began + USEC_PER_SEC, "a second has passed")
        server.run("send-keys", "-t", pane, "x")
        shown(server, pane, "x")
        terminal = f"tmux:{server.socket}:{pane}"
        presence = (await Terminals(UID).views([terminal]))[terminal].presence
        assert isinstance(presence, Presence)
        assert presence.attached
        assert presence.last_input >= began


async def test_a_hung_server_makes_screen_and_presence_unknown(
    server: TmuxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tmux, "TIMEOUT", 0.1)
    server.stop()
    terminal = f"tmux:{server.socket}:%0"
    view = (await Terminals(UID).views([terminal]))[terminal]
    assert isinstance(view.text, Unknown)
    assert isinstance(view.presence, Unknown)


async def test_a_pane_that_is_gone_is_unknown(server: TmuxServer) -> None:
    terminal = f"tmux:{server.socket}:%99"
    views = await Terminals(UID).views([terminal, "/dev/pts/1"])
    assert set(views) == {terminal}
    assert views[terminal].text == Unknown("its tmux pane is gone")


async def test_the_socket_tells_whether_anybody_is_attached(server: TmuxServer) -> None:
    assert not await Server(server.socket, UID).has_clients()
    server.attach()
    until(lambda: os.stat(server.socket).st_mode & stat.S_IXUSR, "tmux marks its socket")
    assert await Server(server.socket, UID).has_clients()


# A tty alone


def test_reading_moves_the_time_of_a_tty_and_writing_does_not() -> None:
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("cat", ["cat"])
    try:
        device = until(lambda: tty_path(read_stat(pid).tty), "it has a terminal")
        os.utime(device, (0, 0))
        began = now()
        os.write(master, b"x\n")
        until(lambda: os.stat(device).st_atime, "it was read from")
        assert began - GRANULARITY <= last_input(device) <= now() + GRANULARITY
        assert Terminals(UID).presence("", read_stat(pid).tty) == Presence(True, last_input(device))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(master)
        os.waitpid(pid, 0)


def test_no_terminal_is_nobody() -> None:
    assert tty_path(0) == ""
    assert Terminals(UID).presence("", 0) == Presence(attached=False, last_input=0)
