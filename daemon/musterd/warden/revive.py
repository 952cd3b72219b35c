"""Brings an ended session back: in its pane if that waits for it, or else in a window of its own."""

import asyncio
import logging
import os
import secrets
import shlex
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from musterd.agents import image
from musterd.agents.base import ProcessFacts
from musterd.core.errors import Failed, NotResumable, reason
from musterd.core.scope import scope_words
from musterd.core.session import SESSION_MARK, Session, SessionId
from musterd.host.panes import Panes, Place, default_socket
from musterd.host.process import boot_id, read_environ, read_facts, read_stat
from musterd.host.terminal import parse_terminal, tmux_terminal
from musterd.host.tmux import Unanswered
from musterd.host.workers import Workers
from musterd.warden.origin import STATE, Origin, remembered
from musterd.warden.prompt import waiting_shell
from musterd.warden.wayback import WayBack

Found = TypeVar("Found")

logger = logging.getLogger(__name__)

ORIGINS_LIMIT = 2_000  # sessions of which we remember how their leader was started

# When to look for what was started: seconds after the start. Nothing tells when a program becomes an agent.
LOOKS = (0.3, 0.7, 1.5, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0)

# Seconds for one call. Who took a server that is slow, as on a busy machine, for none would bring a session
# back elsewhere.
TMUX_PATIENCE = 5.0

NEW_SESSION = "musterd"  # name of the tmux session that is made where there is none

_INTERPRETERS = ("node", "nodejs", "bun", "deno", "python")


class Revivals:
    """Remembers by which words leaders were started, and starts them again; `sweep` finds those."""

    def __init__(self, uid: int, way_back: WayBack, sweep: Callable[[], Awaitable[None]]) -> None:
        self._uid = uid
        self._way_back = way_back
        self._sweep = sweep
        self._workers = Workers()
        self._origins: dict[SessionId, Origin] = {}
        self._seeking: dict[SessionId, asyncio.Task[None]] = {}

    def remember(self, session_id: SessionId, started: ProcessFacts) -> None:
        self.found(session_id)
        self._origins.pop(session_id, None)
        self._origins[session_id] = Origin(started.argv, started.executable)
        if len(self._origins) > ORIGINS_LIMIT:
            del self._origins[next(iter(self._origins))]

    async def resume(self, session: Session, plain: str) -> None:
        """`plain` is the name by which its agent is usually started. Raises NotResumable, Failed."""
        origin = self._origins.get(session.id, Origin())
        revival = Revival(session, origin, plain, self._uid, self._way_back, self._workers)
        terminal = await revival.start()
        logger.debug("Session '%s' was started again in '%s'", session.id, terminal)
        self.found(session.id)
        task = asyncio.get_running_loop().create_task(self._seek(session.id))
        self._seeking[session.id] = task

    def found(self, session_id: SessionId) -> None:
        """It need not be looked for any more."""
        if task := self._seeking.pop(session_id, None):
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._seeking.values())
        for session_id in list(self._seeking):
            self.found(session_id)
        if tasks:
            await asyncio.wait(tasks)

    async def _seek(self, session_id: SessionId) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for at in LOOKS:
            await asyncio.sleep(began + at - loop.time())
            try:
                await self._sweep()
            except Exception:
                logger.exception("Cannot look for session '%s', ignoring", session_id)
        self._seeking.pop(session_id, None)


@dataclass(frozen=True, slots=True)
class Revival:
    """An ended session, and what is known of how to start it again."""

    session: Session
    origin: Origin
    plain: str
    uid: int
    way_back: WayBack
    workers: Workers

    @property
    def _environ(self) -> Mapping[str, str]:
        return remembered(self.session)

    async def start(self) -> str:
        """The terminal in which it was started. Raises NotResumable, Failed."""
        await self._aside(self._check_directory)
        known = parse_terminal(self.session.terminal)
        default = default_socket(self.uid)
        for socket in dict.fromkeys((known[0], default) if known else (default,)):
            panes = Panes(socket, self.uid, TMUX_PATIENCE)
            try:
                place = await panes.place(known[1]) if known and socket == known[0] else None
                own = place if place and self._is_its_own(place) else None
                return tmux_terminal(socket, await self._start_in(panes, own))
            except Unanswered:
                continue  # it does not run (any more): the next one
        return await self._start_server(default)

    async def _aside(self, work: Callable[[], Found]) -> Found:
        """Its files, and the memory of a shell, may not answer. OSError."""
        return await self.workers.do(f"session {self.session.id}", work)

    def _check_directory(self) -> None:
        directory = self.session.cwd
        if not os.path.isabs(directory) or not os.path.isdir(directory):
            raise NotResumable(f"Its directory '{directory}' is gone.")

    async def _start_in(self, panes: Panes, place: Place | None) -> str:
        path = self._environ.get("PATH") or await panes.variable("PATH") or _own_path()
        command = await self._aside(partial(self._command, path))
        if place and (place.is_dead or await self._aside(partial(self._shows_notice, place))):
            await panes.respawn(place.pane, self.session.cwd, command)
            return place.pane
        if place and await self._type_in(panes, place, path):
            return place.pane
        return await panes.open_window(place.session if place else "", self.session.cwd, command)

    async def _start_server(self, socket: str) -> str:
        if self.uid != os.geteuid():
            raise Failed(f"User {self.uid} has no terminal to start it in.")
        path = self._environ.get("PATH") or _own_path()
        command = await self._aside(partial(self._command, path))
        try:
            pane = await Panes(socket, self.uid, TMUX_PATIENCE).start(NEW_SESSION, self.session.cwd, command)
        except (Unanswered, OSError) as exc:
            raise Failed(f"There is no terminal to be had: {reason(exc)}.") from exc
        return tmux_terminal(socket, pane)

    # Its pane

    def _is_its_own(self, place: Place) -> bool:
        """Each server numbers its panes anew: was this one there when the session was?"""
        leader = self.session.leader
        try:
            start = read_stat(place.server_pid).start_ticks
        except (ProcessLookupError, ValueError):
            return False
        return leader is not None and leader.boot_id == boot_id() and start <= leader.start_ticks

    def _shows_notice(self, place: Place) -> bool:
        """The one that the end of it left there, which names it."""
        try:
            words = read_facts(place.pid).argv
        except ProcessLookupError:
            return False
        return any("muster" in word for word in words) and any(self.session.id in word for word in words)

    async def _type_in(self, panes: Panes, place: Place, path: str) -> bool:
        """Have a shell that waits at its prompt start it: a job of that shell, as it was before."""
        offer = partial(self.way_back.offer, self.session.id)
        shell = await waiting_shell(panes, place.pane, self.workers, offer)
        line = await self._aside(partial(self._line, shell, path)) if shell else ""
        if line:
            await panes.type_line(place.pane, line)
        return bool(line)

    # What to start

    def _command(self, path: str) -> list[str]:
        """The whole of it, for tmux to execute."""
        environ = {name: value for name, value in self._environ.items() if name in STATE}
        return self._marked({**environ, "PATH": path}, self._program(path))

    def _line(self, shell: ProcessFacts, path: str) -> str:
        """What to type into a shell, which has most of the environment; "" if it is not fit to be typed."""
        there, wanted = read_environ(shell.pid, STATE), self._environ
        differing = {name for name in STATE if wanted.get(name, there.get(name)) != there.get(name)}
        words = self._marked({name: wanted[name] for name in sorted(differing)}, self._program(path))
        go = ["cd", self.session.cwd] if shell.cwd != self.session.cwd else []
        if not all(map(_is_typeable, [*go, *words])):
            return ""
        return " && ".join(shlex.join(part) for part in (go, words) if part)

    def _marked(self, environ: Mapping[str, str], command: Sequence[str]) -> list[str]:
        mark = f"{SESSION_MARK}={self.session.id}"
        scope = self._scope(command)
        found = {"XDG_RUNTIME_DIR": self._runtime} if scope else {}
        pairs = [f"{name}={value}" for name, value in {**environ, **found}.items()]
        return ["env", mark, *pairs, *scope, *command]

    @property
    def _runtime(self) -> str:
        return f"/run/user/{self.uid}"

    def _scope(self, command: Sequence[str]) -> list[str]:
        """What had a scope of its own gets one again, from its user's systemd, where that answers."""
        has_systemd = os.path.exists(f"{self._runtime}/systemd/private") and shutil.which("systemd-run")
        if not self.session.scope or not has_systemd or any("$" in word for word in command):
            return []  # from version 254 on it would expand a `$`, before it cannot be told not to
        return scope_words(secrets.token_hex(4), is_user=True, knows_expansion=False)

    def _program(self, path: str) -> list[str]:
        """The resume command, as it is if its program is found, or else by how the program was started."""
        program, *rest = self.session.resume_command or ("",)
        if program and shutil.which(program, path=path):
            return [program, *rest]
        way = self._way() if program == self.plain else []
        if not way:
            raise NotResumable(f"Its program '{program}' is not found.")
        return [*way, *rest]

    def _way(self) -> list[str]:
        session, origin = self.session, self.origin
        recorded = way_of_starting(session.command, session.executable, session.cwd)
        shell_started = self._environ.get("_", "")
        is_it = image.name(shell_started) == self.plain and _is_program(shell_started)
        return way_of_starting(origin.command, origin.executable, session.cwd) or (
            [shell_started] if is_it else recorded
        )


def _own_path() -> str:
    return os.environ.get("PATH", os.defpath)


def way_of_starting(command: Sequence[str], executable: str, cwd: str) -> list[str]:
    """The words that start that program again, without its arguments; none if they cannot be told."""
    if image.name(executable).startswith(_INTERPRETERS):
        scripts = [word for word in command[1:] if word and not word.startswith("-")]
        script = os.path.join(cwd, scripts[0]) if scripts else ""
        return [executable, script] if _is_program(executable) and os.path.isfile(script) else []
    candidates = (*command[:1], executable)
    return next(([word] for word in candidates if os.path.isabs(word) and _is_program(word)), [])


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _is_typeable(word: str) -> bool:
    """Whether every shell reads the quoted word as it is: fish knows backslashes, zsh a leading `=`."""
    return word.isprintable() and "\\" not in word and not word.startswith("=")
