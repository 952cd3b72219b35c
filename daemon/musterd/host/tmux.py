"""tmux(1) as a client: the panes of a server and what they show, in as few calls as there are servers."""

import asyncio
import logging
import os
import secrets
import stat
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from musterd.core.units import USEC_PER_SEC
from musterd.host.programs import ask
from musterd.host.workers import Workers

logger = logging.getLogger(__name__)

TIMEOUT = 1.0  # seconds for one call; an idle server answers in a few milliseconds
SILENCE = 30.0  # seconds for which a server that did not answer is not asked again
OUTPUT_LIMIT = 16 * 1024 * 1024
# Commands of one call travel in one message of at most 16 KiB (imsg); a screen takes about 70 bytes of it.
SCREENS_PER_CALL = 150
CHANCES = 5  # how many panes may vanish while we look before we leave it at what we have

# Titles come last: everything before them has no blanks. tmux keeps control characters out of titles.
_PANE = "P #{pane_id} #{pane_pid} #{pane_tty} #{session_id} #{window_active} #{pane_title}"
_CLIENT = "C #{session_id} #{client_activity} #{client_control_mode}"


class Unanswered(Exception):
    """A server could not be asked, or made no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Pane:
    id: str
    pid: int  # of the process that tmux started in it
    tty: str
    title: str
    is_attached: bool  # some client is attached to a session it is in
    is_seen: bool  # and has its window in front
    typed: int  # latest activity of such a client (of one that sees it, if any does), realtime µs
    is_controlled: bool = False  # one is a program (control mode), and tmux knows of no key that it sends


def parse_panes(text: str) -> dict[str, Pane]:
    """The output of list-panes and list-clients. A pane in several sessions comes several times."""
    lines = text.splitlines()
    clients: dict[str, int] = {}
    controlled: set[str] = set()
    for line in lines:
        if line.startswith("C "):
            _, session, activity, is_control = line.split(" ")
            clients[session] = max(clients.get(session, 0), int(activity) * USEC_PER_SEC)
            controlled |= {session} if is_control == "1" else set()
    panes: dict[str, Pane] = {}
    for line in lines:
        if line.startswith("P "):
            pane = _parse_pane(line, clients, controlled)
            panes[pane.id] = _merge(panes[pane.id], pane) if pane.id in panes else pane
    return panes


def _parse_pane(line: str, clients: Mapping[str, int], controlled: Collection[str]) -> Pane:
    _, pane_id, pid, tty, session, is_active, title = line.split(" ", 6)
    is_attached = session in clients
    is_seen = is_attached and is_active == "1"
    typed, is_controlled = clients.get(session, 0), session in controlled
    return Pane(pane_id, int(pid), tty, title, is_attached, is_seen, typed, is_controlled)


def _merge(one: Pane, other: Pane) -> Pane:
    is_controlled = one.is_controlled or other.is_controlled
    if one.is_seen != other.is_seen:
        return replace(one if one.is_seen else other, is_controlled=is_controlled)
    is_attached, typed = one.is_attached or other.is_attached, max(one.typed, other.typed)
    return replace(one, is_attached=is_attached, typed=typed, is_controlled=is_controlled)


class Server:
    """One tmux server, by its socket. A call answers within `patience` (`TIMEOUT`), or raises Unanswered."""

    def __init__(self, socket: str, uid: int, patience: float | None = None) -> None:
        self.socket = socket
        self._uid = uid
        self._patience = patience
        self._silent_until = 0.0
        self._workers = Workers(threads=1)  # the socket may be anywhere

    async def has_clients(self) -> bool:
        """Whether anybody is attached at all, without asking: tmux marks its socket executable then."""
        try:
            return bool((await self._status()).st_mode & stat.S_IXUSR)
        except (OSError, ValueError):
            return True  # not known

    async def panes(self) -> dict[str, Pane]:
        text = await self._ask("list-panes", "-a", "-F", _PANE, ";", "list-clients", "-F", _CLIENT)
        try:
            return parse_panes(text)
        except ValueError as exc:
            raise Unanswered(f"tmux server '{self.socket}' answered nonsense: {exc}") from exc

    async def screens(self, panes: Iterable[str]) -> dict[str, str]:
        """The visible text of those panes that (still) exist."""
        waiting, shown = list(panes), dict[str, str]()
        calls = len(waiting) // SCREENS_PER_CALL + CHANCES
        while waiting and (calls := calls - 1):
            batch, waiting = waiting[:SCREENS_PER_CALL], waiting[SCREENS_PER_CALL:]
            token = secrets.token_hex(8)  # what is on a screen cannot look like our marks
            text = await self._ask(*_capture(batch, token), may_fail=True)
            screens = split_screens(text, token)
            shown |= screens
            # The first pane that has gone ends the call: go on behind it.
            waiting[:0] = batch[len(screens) + 1 :]
        return shown

    async def run(self, *commands: Sequence[str]) -> str:
        """Carry out these commands, each a list of words; what they print. The first that fails ends it.

        Words reach tmux as they are. What it expands itself (directories, formats) is up to the caller.
        """
        words: list[str] = []
        for command in commands:
            words += [*map(escape, command), ";"]
        return await self._ask(*words[:-1])

    async def _ask(self, *command: str, may_fail: bool = False) -> str:
        if time.monotonic() < self._silent_until:
            raise Unanswered(f"tmux server '{self.socket}' did not answer a moment ago")
        await self._check_socket()
        patience = TIMEOUT if self._patience is None else self._patience
        try:
            async with asyncio.timeout(patience):
                code, output = await run("tmux", "-u", "-S", self.socket, *command)
        except TimeoutError as exc:
            self._silent_until = time.monotonic() + SILENCE
            message = f"tmux server '{self.socket}' did not answer within {patience:g} s"
            raise Unanswered(message) from exc
        except OSError as exc:
            raise Unanswered(f"tmux cannot be run: {exc.strerror}") from exc
        if code and not may_fail:
            raise Unanswered(f"there is no tmux server at '{self.socket}', or it refused")
        return output

    async def _status(self) -> os.stat_result:
        return await self._workers.do("socket", lambda: os.stat(self.socket))

    async def _check_socket(self) -> None:
        """A client does what its server says: never talk to another user's."""
        try:
            status = await self._status()
        except (OSError, ValueError) as exc:
            raise Unanswered(f"there is no tmux socket '{self.socket}'") from exc
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != self._uid:
            raise Unanswered(f"'{self.socket}' is not a socket of user {self._uid}")


def escape(word: str) -> str:
    """A semicolon at the end of a word would end the command (see tmux(1), PARSING SYNTAX)."""
    return f"{word[:-1]}\\;" if word.endswith(";") else word


def _capture(panes: Sequence[str], token: str) -> list[str]:
    command = []
    for pane in panes:
        command += ["capture-pane", "-p", "-t", pane, ";"]
        command += ["display-message", "-p", "-t", pane, f"{token} #D", ";"]
    return command[:-1]


def split_screens(text: str, token: str) -> dict[str, str]:
    """Screens by pane: the mark that names the pane comes behind its screen, if that could be had."""
    screens, (screen, *parts) = {}, text.split(f"{token} ")
    for part in parts:
        pane, _, following = part.partition("\n")
        screens[pane] = screen
        screen = following
    screens.pop("", None)  # a pane that vanished between its screen and its mark
    return screens


async def run(*command: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output. Unanswered if that is too much, OSError if tmux is not there."""
    answer = await ask(*command, environ=environ, limit=OUTPUT_LIMIT)
    if answer.is_cut:
        raise Unanswered(f"tmux wrote more than {OUTPUT_LIMIT} bytes")
    return answer.status, answer.output.decode(errors="replace")
