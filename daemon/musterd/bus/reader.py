"""Reads messages in portions, so that nobody who talks without pause keeps everybody else waiting.

dbus-fast's reader goes on until its socket is empty: one client of a dbus-broker that sends calls without
wanting replies kept the loop from its next turn for 4 seconds. It reads every body, however long, and a
message that it cannot read ends the connection. So this one cuts the messages itself; see `received`.
"""

import array
import asyncio
import logging
import socket
import struct
from collections.abc import Callable

from dbus_fast import MessageType
from dbus_fast.aio import MessageBus

from .received import FIXED, Received, padded
from .writer import close_fds

logger = logging.getLogger(__name__)

PORTION = 256  # messages between two turns of the loop: about 10 ms; much smaller ones let a flood pile up
PORTION_BYTES = 4 * 1024 * 1024

HEADER = 64 * 1024  # bytes of a header: any of ours has some hundred
BODY = 512 * 1024  # bytes of a body that nobody has asked for; the longest of ours is a hook's payload
LONGEST = 128 * 1024 * 1024  # bytes of a message (D-Bus specification)

CHUNK = 256 * 1024
MAX_FDS = 16  # of one message, as in dbus-fast; the kernel closes those for which there is no room

_REPLIES = (MessageType.METHOD_RETURN.value, MessageType.ERROR.value)


class _Frames:
    """Messages from a socket. Never reads into the next one: fds come with the first byte of theirs."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = 0  # bytes of this turn
        self._begin()

    def _begin(self) -> None:
        self._data = bytearray()
        self._fds: list[int] = []
        self._header = 0  # bytes of it, with its padding; 0: not known yet
        self._body = 0
        self._wanted = FIXED  # bytes that are kept
        self._unwanted = 0  # and those behind them, which are not

    def next_turn(self) -> None:
        self._left = PORTION_BYTES

    def next(self) -> Received | None:
        """The next one; None if it has not come yet, or not in this turn.

        Raises OSError, EOFError or ValueError when no more will come.
        """
        while True:
            try:
                self._complete()
            except BlockingIOError:
                return None
            try:
                return self._cut()
            except ValueError as exc:
                logger.debug("The bus has passed on a message that is none: %s, ignoring", exc)

    def _cut(self) -> Received:
        """The message that is complete. Raises ValueError if that is none."""
        header, body = bytes(self._data[: self._header]), bytes(self._data[self._header :])
        is_known, is_kept = len(header) == self._header, len(body) == self._body
        fds, size = self._fds, self._body
        self._begin()
        try:
            if is_known:
                return Received(header, body if is_kept else None, size, fds)
        except ValueError:
            close_fds(fds)
            raise
        close_fds(fds)
        raise ValueError("its header is too long")

    def _complete(self) -> None:
        while not self._header or len(self._data) < self._wanted or self._unwanted:
            if len(self._data) < self._wanted:
                self._data += self._receive(self._wanted - len(self._data))
            elif not self._header:
                self._measure()
            else:
                self._unwanted -= len(self._receive(self._unwanted))

    def _measure(self) -> None:
        order = {ord("l"): "<", ord("B"): ">"}.get(self._data[0])
        if order is None or self._data[3] != 1:
            raise ValueError("the bus does not speak D-Bus any more")
        self._body, _, fields = struct.unpack_from(order + "III", self._data, 4)
        self._header = FIXED + padded(fields)
        total = self._header + self._body
        if total > LONGEST:
            raise ValueError(f"a message would have {total} bytes")
        if self._header <= HEADER:
            is_kept = self._body <= BODY or self._data[1] in _REPLIES
            self._wanted = total if is_kept else self._header
        self._unwanted = total - self._wanted

    def _receive(self, size: int) -> bytes:
        if self._left <= 0:
            raise BlockingIOError
        room = socket.CMSG_LEN(MAX_FDS * array.array("i").itemsize)
        data, ancillary, _, _ = self._sock.recvmsg(min(size, CHUNK), room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds += array.array("i", content[: len(content) // 4 * 4])
        if not data:
            raise EOFError
        self._left -= len(data)
        return data

    def close(self) -> None:
        close_fds(self._fds)
        self._begin()


def install_reader(bus: MessageBus, take: Callable[[Received], None]) -> Callable[[], None]:
    """Have messages of a connected bus handed to `take`, and no more to the library -> reads one portion."""
    assert bus._sock is not None
    frames = _Frames(bus._sock)

    def read_portion() -> None:
        frames.next_turn()
        try:
            for _ in range(PORTION):
                if (message := frames.next()) is None:
                    return
                take(message)
        except (OSError, EOFError, ValueError) as exc:
            frames.close()
            bus._finalize(exc)

    asyncio.get_running_loop().add_reader(bus._sock, read_portion)
    return read_portion
