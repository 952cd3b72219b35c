"""The line between the daemon and a warden: what is said on it, and how much of it at a time.

A socket pair, made by the daemon and handed out over the bus to whom the bus names as that user. A message
is one JSON object on a line of its own:

    daemon → warden   {"welcome": {"boot": ..., "interval": ...}}  once, at the beginning
                      {"call": 7, "member": "observe", "args": [...]}  number 0 wants no answer
                      {"heard": 512}                                   so many more events may come
    warden → daemon   {"hello": "VERSION"}                             once, at the beginning
                      {"part": 7, "key": ..., "value": ...}            one item of an answer that is a table
                      {"done": 7, "value": ...}
                      {"refused": 7, "error": "NoSuchSession", "text": "..."}
                      {"event": ...}
                      {"bye": true}                                    nothing is left to do
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, get_origin

from musterd.core.evidence import Observation, Usage, Work
from musterd.core.session import Agent, PidRef, Session, SessionId
from musterd.warden_port import Appeared, Ending, Gone, Leader, Leftover, Said

from .wire import dump, load

FRAME = 1024 * 1024  # bytes of a message of a warden; half of it is left for what is around a value
ORDER = 16 * 1024 * 1024  # bytes of one of the daemon: a hundred sessions that ended
WAITING = 32 * 1024 * 1024  # bytes that the other end has not read: it is not there any more

PART = 32 * 1024  # bytes of one item of an answer that is a table: a look is remembered for a while

WINDOW = 1024  # events on their way to the daemon before it says that it heard some

Event = Said | Gone | Appeared


@dataclass(frozen=True, slots=True)
class Member:
    """A method of `warden_port.Warden`: its arguments, what it returns, and how many seconds it may take."""

    takes: tuple[Any, ...]
    returns: Any
    within: float = 5.0
    is_order: bool = False  # nobody waits for an answer

    @property
    def is_table(self) -> bool:
        """Answered item by item."""
        return get_origin(self.returns) is Mapping


MEMBERS: Mapping[str, Member] = {
    "events": Member((), None, is_order=True),  # all that is watched at first is: begin to tell
    "leader": Member((int, Agent | None), Leader),
    "lineage": Member((int,), tuple[PidRef, ...]),
    "watch": Member((Session,), None, 10.0),
    "unwatch": Member((SessionId,), None, is_order=True),
    "observe": Member((tuple[SessionId, ...], bool), Mapping[SessionId, Observation], 15.0),
    "usage": Member((tuple[SessionId, ...],), Mapping[SessionId, Usage]),
    "work": Member((Session, tuple[str, ...], float), Work, 0.5),  # and the seconds that it is given
    "sweep": Member((), None, 15.0),
    "forget": Member((PidRef,), None, is_order=True),
    "end": Member((Session, Observation | None), Ending, 90.0),
    "reclaim": Member((Session,), int, 30.0),
    "leftovers": Member((tuple[Session, ...],), tuple[Leftover, ...], 15.0),
    "end_leftovers": Member((tuple[Leftover, ...],), Ending, 60.0),
    "resume": Member((Session,), None, 30.0),
}


class LineEnded(Exception):
    """The other end is gone, or does not read."""


class Line:
    """One end of it. Sending never waits; who does not read is dropped."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket, limit: int) -> Self:
        """`limit` is how long a message of the other end may be."""
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=limit))

    async def receive(self) -> tuple[Mapping[str, object], int]:
        """The next message, and its length. Raises LineEnded, and ValueError for what is none."""
        try:
            line = await self._reader.readline()
        except OSError as exc:
            raise LineEnded("it is gone") from exc
        if not line.endswith(b"\n"):
            raise LineEnded("it is gone")
        return load(line), len(line)

    def send(self, **message: object) -> None:
        """Raises LineEnded."""
        if self._writer.transport.is_closing():
            raise LineEnded("it is gone")
        self._writer.write(dump(message))
        if self._writer.transport.get_write_buffer_size() > WAITING:
            self.drop()
            raise LineEnded("it does not read what it is told")

    def drop(self) -> None:
        """End it at once; who receives hears of it."""
        self._writer.transport.abort()

    async def ended(self) -> None:
        """Return when the socket is closed."""
        with suppress(OSError):
            await self._writer.wait_closed()


def number_of(message: Mapping[str, object], key: str) -> int:
    number = message[key]
    if type(number) is not int or number < 0:
        raise ValueError(f"'{key}' is no number")
    return number
