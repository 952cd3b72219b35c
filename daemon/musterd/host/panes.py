"""What tmux(1) is asked to do: start a program in a pane or in a window, or type where a shell waits.

No shell of tmux's is involved: a command of several words is executed as it is.
"""

import asyncio
import os
import secrets
import shutil
import socket as sockets
from collections.abc import Sequence
from dataclasses import dataclass

from musterd.host.programs import user_environ
from musterd.host.tmux import Server, Unanswered, escape, run

START_TIMEOUT = 10.0  # seconds for a new server: its configuration may start programs

# The server must not be stopped as a whole because the kernel ended one agent in it.
_SERVICE = ("--quiet", "--collect", "--property=Type=forking", "--property=OOMPolicy=continue")

_PLACE = (
    "#{pane_id} #{pane_dead} #{pane_in_mode}#{pane_synchronized}#{pane_input_off} #{cursor_x} #{cursor_y} "
    "#{pane_width} #{session_id} #{pid} #{pane_pid} #{pane_tty}"
)


@dataclass(frozen=True, slots=True)
class Place:
    """One pane, at one moment."""

    pane: str
    is_dead: bool  # its program has ended, and tmux keeps it
    takes_keys: bool  # what is typed goes to its program, and to no other's
    column: int  # of the cursor
    row: int
    width: int  # of the pane, in columns
    session: str
    server_pid: int
    pid: int  # of the program that tmux started in it
    tty: str


def parse_place(line: str) -> Place:
    pane, is_dead, modes, column, row, width, session, server_pid, pid, tty = line.split(" ", 9)
    numbers = int(column), int(row), int(width)
    return Place(
        pane, is_dead == "1", not modes.strip("0"), *numbers, session, int(server_pid), int(pid), tty
    )


class Panes(Server):
    """The same server, to be told something. Every method raises Unanswered."""

    async def place(self, pane: str) -> Place | None:
        """None if the server runs, but has no such pane (any more)."""
        text = await self.run(["list-panes", "-a", "-F", _PLACE])
        lines = [line for line in text.splitlines() if line.startswith(f"{pane} ")]
        try:
            return parse_place(lines[0]) if lines else None
        except ValueError as exc:
            raise Unanswered(f"tmux server '{self.socket}' answered nonsense: {exc}") from exc

    async def rows(self, pane: str, first: int, last: int) -> list[str]:
        """Some rows of what a pane shows, without blanks at their ends. Those below 0 have scrolled out."""
        text = await self.run(["capture-pane", "-p", "-t", pane, "-S", f"{first}", "-E", f"{last}"])
        return [row.rstrip() for row in text.split("\n")][: last - first + 1]

    async def variable(self, name: str) -> str:
        """Of the environment that new windows get; "" if it has none."""
        text = await self.run(["show-environment", "-g"])
        values = [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]
        return values[0] if values else ""

    async def respawn(self, pane: str, directory: str, command: Sequence[str]) -> None:
        """Start a program in a pane, instead of what is in it."""
        await self.run(["respawn-pane", "-k", "-t", pane, *_started(directory, command)])

    async def open_window(self, session: str, directory: str, command: Sequence[str]) -> str:
        """Start a program in a new window, behind the others -> its pane. "" is the session used last."""
        target = ("-t", f"{session}:") if session else ()
        where = ("new-window", "-d", "-P", "-F", "#{pane_id}", *target)
        return (await self.run([*where, *_started(directory, command)])).strip()

    async def type_line(self, pane: str, line: str) -> None:
        """Type a line and Enter. Should something stand there unseen, it is erased first."""
        keys = ("send-keys", "-t", pane)
        await self.run([*keys, "C-e", "C-u"], [*keys, "-l", "--", line], [*keys, "Enter"])

    async def start(self, name: str, directory: str, command: Sequence[str]) -> str:
        """A new server with one session of that name, started by the user's systemd if it runs -> its pane.

        Never in the sandbox of a unit, if we are one: an agent has neither network nor much memory there.
        """
        new = [escape(word) for word in ("new-session", "-d", "-s", name, *_started(directory, command))]
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{self._uid}"
        around: Sequence[str] = ()
        if has_service_manager(runtime):
            around = "systemd-run", "--user", *_SERVICE, f"--unit=musterd-tmux-{secrets.token_hex(4)}", "--"
            new = [word.replace("$", "$$") for word in new]  # systemd.service(5) expands variables
        elif is_unit():
            raise Unanswered(
                "start tmux first, or have an administrator run 'loginctl enable-linger', "
                "since neither a tmux server nor a systemd of this user runs"
            )
        os.makedirs(os.path.dirname(self.socket), mode=0o700, exist_ok=True)
        environ = {**user_environ(self._uid), "XDG_RUNTIME_DIR": runtime}
        try:
            async with asyncio.timeout(START_TIMEOUT):
                code, _ = await run(*around, "tmux", "-u", "-S", self.socket, *new, environ=environ)
        except TimeoutError as exc:
            raise Unanswered(f"tmux did not start within {START_TIMEOUT:g} s") from exc
        except OSError as exc:
            raise Unanswered(f"tmux cannot be run: {exc.strerror}") from exc
        if code:
            raise Unanswered(f"tmux cannot be started at '{self.socket}'")
        return (await self.run(["list-panes", "-t", name, "-F", "#{pane_id}"])).strip()


def default_socket(uid: int) -> str:
    """Where tmux puts the socket of a server that was given no name (tmux(1), -L)."""
    return f"{os.environ.get('TMUX_TMPDIR') or '/tmp'}/tmux-{uid}/default"  # noqa: S108 - by its manual


def is_unit() -> bool:
    """Whether a service manager started this very process (systemd.exec(5))."""
    return os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())


def has_service_manager(runtime: str) -> bool:
    """Whether the user's own systemd answers, and can be asked."""
    if not shutil.which("systemd-run"):
        return False
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.path.join(runtime, "systemd", "private"))
        except OSError:
            return False
    return True


def _started(directory: str, command: Sequence[str]) -> list[str]:
    """The last words of a tmux command that starts a program.

    tmux expands formats in a directory, and a format can run commands: env(1) goes to one that may hold any.
    """
    assert len(command) > 1, "tmux gives a single word to a shell"
    if "#" in directory:
        return ["--", "env", f"--chdir={directory}", *command]
    return ["-c", directory, "--", *command]
