"""Where an agent is on somebody's screen, what it shows there, and who looks at it.

The text for a terminal is `tmux:SOCKET:PANE` (tmux:/tmp/tmux-1000/default:%3) or a device (/dev/pts/4).
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from musterd.agents.base import ProcessFacts
from musterd.core.evidence import Presence, Unknown
from musterd.host.tmux import Pane, Server, Unanswered
from musterd.host.tty import last_input, path_here, tty_path
from musterd.together import all_of

_FRESH = 1.0  # seconds for which a list of panes serves the search for new agents
_SERVERS_LIMIT = 64


@dataclass(frozen=True, slots=True)
class View:
    """One terminal at one moment."""

    text: str | Unknown
    presence: Presence | Unknown
    title: str = ""


def tmux_terminal(socket: str, pane: str) -> str:
    return f"tmux:{socket}:{pane}"


def parse_terminal(terminal: str) -> tuple[str, str] | None:
    """Socket and pane of a tmux terminal; None for any other."""
    socket, separator, pane = terminal.removeprefix("tmux:").rpartition(":")
    if not terminal.startswith("tmux:/") or not separator or not pane.startswith("%"):
        return None
    return socket, pane


class Terminals:
    """All terminals of one user, and the tmux servers behind them."""

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._servers: dict[str, Server] = {}
        self._panes: dict[str, tuple[float, Mapping[str, Pane]]] = {}

    async def locate(self, process: ProcessFacts, ancestors: Collection[int]) -> str:
        """The terminal of a process: the pane that has its tty, or in which an ancestor was started.

        If its server does not answer, by what the environment says.
        """
        device = path_here(process.pid, process.tty)
        socket = process.environ.get("TMUX", "").split(",")[0]
        if not socket.startswith("/") or not socket.isprintable():
            return device
        try:
            for is_enough in (True, False):  # a pane may be younger than the list that is at hand
                panes = await self._recent_panes(socket, is_enough=is_enough)
                found = [pane for pane in panes.values() if device and pane.tty == device]
                found += [pane for pane in panes.values() if pane.pid in ancestors]
                if is_enough:  # a pane that is gone since may have had that tty: the kernel uses it again
                    found = [pane for pane in found if pane.pid in ancestors]
                if found:
                    return tmux_terminal(socket, found[0].id)
        except Unanswered:
            pane = process.environ.get("TMUX_PANE", "")
            return tmux_terminal(socket, pane) if device and pane.startswith("%") else device
        return device

    async def attended(self, terminals: Collection[str]) -> Mapping[str, bool]:
        """Which tmux servers of these terminals have clients, by their sockets."""
        sockets = {place[0] for place in map(parse_terminal, terminals) if place}
        found = await all_of(self.server(socket).has_clients() for socket in sockets)
        return dict(zip(sockets, found, strict=True))

    def presence(
        self, terminal: str, tty: int, attended: Mapping[str, bool] = MappingProxyType({})
    ) -> Presence | Unknown:
        """Who is there, asking nobody: the time of the tty alone. A server that is not told of has clients.

        That is never too early, but may be too late: another program may have typed (send-keys).
        """
        device = tty_path(tty)
        if not device:
            return Presence(attached=False, last_input=0)
        place = parse_terminal(terminal)
        attached = attended.get(place[0], True) if place else True
        try:
            return Presence(attached, last_input(device))
        except OSError as exc:
            return Unknown(f"its terminal '{device}' cannot be looked at: {exc.strerror}")

    async def views(self, terminals: Collection[str]) -> Mapping[str, View]:
        """What tmux shows; terminals that are none of tmux's are left out. Two calls for each server."""
        wanted: dict[str, list[str]] = {}
        for terminal in set(terminals):
            if place := parse_terminal(terminal):
                wanted.setdefault(place[0], []).append(place[1])
        found = await all_of(self._views(socket, panes) for socket, panes in wanted.items())
        return {terminal: view for views in found for terminal, view in views.items()}

    async def _views(self, socket: str, wanted: Sequence[str]) -> Mapping[str, View]:
        server = self.server(socket)
        try:
            panes = await server.panes()
            screens = await server.screens(pane for pane in wanted if pane in panes)
        except Unanswered as exc:
            silent = View(Unknown(str(exc)), Unknown(str(exc)))
            return {tmux_terminal(socket, pane): silent for pane in wanted}
        return {tmux_terminal(socket, pane): _view(panes.get(pane), screens.get(pane)) for pane in wanted}

    async def _recent_panes(self, socket: str, *, is_enough: bool) -> Mapping[str, Pane]:
        """`is_enough`: a list that is a little old will do."""
        at, panes = self._panes.get(socket, (0.0, {}))
        if time.monotonic() - at > (_FRESH if is_enough else 0.0):
            panes = await self.server(socket).panes()
            self._panes = {socket: (time.monotonic(), panes)}
        return panes

    def server(self, socket: str) -> Server:
        if socket not in self._servers and len(self._servers) >= _SERVERS_LIMIT:
            self._servers.pop(next(iter(self._servers)))
        return self._servers.setdefault(socket, Server(socket, self._uid))


def _view(pane: Pane | None, screen: str | None) -> View:
    if pane is None or screen is None:
        gone = Unknown("its tmux pane is gone")
        return View(gone, gone)
    return View(screen, _presence(pane), pane.title)


def _presence(pane: Pane) -> Presence | Unknown:
    """When a person last typed into a pane, or into a client that has it in front.

    tmux knows when a key came from a client, but not for which pane. The tty knows when its program read
    something, but not from whom: send-keys and replies of the terminal look the same. A key stroke moves
    both, so for a pane that nobody has in front, the earlier one is the latest that it can have been. Of the
    keys that a client in control mode sends (a terminal program with windows of its own) only the tty knows.
    """
    try:
        read = last_input(pane.tty)
    except OSError as exc:
        return Unknown(f"its terminal '{pane.tty}' cannot be looked at: {exc.strerror}")
    if not pane.is_attached:
        return Presence(attached=False, last_input=read)
    if pane.is_controlled:
        return Presence(attached=True, last_input=max(read, pane.typed) if pane.is_seen else read)
    return Presence(attached=True, last_input=pane.typed if pane.is_seen else min(pane.typed, read))
