"""Sends messages in order, and never takes a full socket for the end of the connection.

dbus-fast 5.2 does: its writer closes the bus on EAGAIN, so a burst of signals or a client that does not
read ends the service. `install_writer` puts this one into its place.
"""

import array
import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from dbus_fast import Message
from dbus_fast.aio import MessageBus

from .errors import BusGone, MessageTooLarge
from .paths import check_paths


@dataclass(slots=True)
class _Queued:
    data: memoryview
    fds: list[int]  # our own copies
    sent: asyncio.Future[None]

    def transmit(self, sock: socket.socket) -> int:
        if not self.fds:
            return sock.send(self.data)
        count = sock.sendmsg(
            [self.data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self.fds))]
        )
        self.close_fds()  # they travel with the first byte
        return count

    def close_fds(self) -> None:
        close_fds(self.fds)
        self.fds = []

    def fail(self, exc: Exception) -> None:
        self.close_fds()
        if not self.sent.done():
            self.sent.set_exception(exc)
            self.sent.exception()  # nobody needs to look: signals are sent without waiting


class Writer:
    """The send queue of one connection. `queued_bytes` is what the bus has not taken yet."""

    def __init__(self, bus: MessageBus) -> None:
        assert bus._sock is not None
        self.queued_bytes = 0
        self._bus = bus
        self._sock: socket.socket = bus._sock
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Queued] = deque()
        self._is_waiting = False

    def send(self, message: Message, *, limit: int | None = None) -> asyncio.Future[None]:
        """Queue `message`; the future is done when its last byte left, or fails with BusGone.

        The message's fds are duplicated: the caller may close its own at once. Raises MessageTooLarge above
        `limit` bytes, and what the library raises when the body does not fit the signature.
        """
        sent: asyncio.Future[None] = self._loop.create_future()
        self._append(message, sent, limit)
        return sent

    def schedule_write(self, msg: Message | None = None, future: asyncio.Future[None] | None = None) -> None:
        """What the library calls instead of its own writer's method."""
        if msg is not None:
            self._append(msg, future or self._loop.create_future(), None)

    async def drain(self) -> None:
        """Return when all that is queued now has left, or will not any more."""
        if self._queue:
            await asyncio.wait([self._queue[-1].sent])

    def close(self, reason: str) -> None:
        """Fail what is queued. The library has unregistered and closed the socket by then."""
        queue, self._queue = self._queue, deque()
        self.queued_bytes = 0
        for queued in queue:
            queued.fail(BusGone(reason))

    def _append(self, message: Message, sent: asyncio.Future[None], limit: int | None) -> None:
        if not message.serial:
            message.serial = self._bus.next_serial()
        check_paths(message)
        data = message._marshall(bool(message.unix_fds))
        if limit is not None and len(data) > limit:
            raise MessageTooLarge(
                f"The answer would have {len(data)} bytes, more than {limit}; ask for less."
            )
        queued = _Queued(memoryview(data), [os.dup(fd) for fd in message.unix_fds], sent)
        if not self._bus.connected:
            queued.fail(BusGone("the connection to the bus is closed"))
            return
        self._queue.append(queued)
        self.queued_bytes += len(data)
        if not self._is_waiting:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._queue:
                self._send_some(self._queue[0])
        except BlockingIOError:
            self._wait(until_writable=True)
        except OSError as exc:
            self._bus._finalize(exc)  # the same end as when the reader finds it
        else:
            self._wait(until_writable=False)

    def _send_some(self, queued: _Queued) -> None:
        try:
            count = queued.transmit(self._sock)
        except OSError as exc:
            if exc.errno != errno.ETOOMANYREFS:
                raise
            # Too many fds in flight (unix(7)). Nothing of the message left yet: give up on this one only.
            count = len(queued.data)
            queued.fail(exc)
        self.queued_bytes -= count
        queued.data = queued.data[count:]
        if not queued.data:
            self._queue.popleft()
            if not queued.sent.done():
                queued.sent.set_result(None)

    def _wait(self, *, until_writable: bool) -> None:
        if until_writable and not self._is_waiting:
            self._loop.add_writer(self._sock, self._flush)
        elif self._is_waiting and not until_writable:
            self._loop.remove_writer(self._sock)
        self._is_waiting = until_writable


def install_writer(bus: MessageBus) -> Writer:
    """Replace the writer of a connected bus. Call it right after `connect()`, before anything is sent."""
    writer = Writer(bus)
    bus._writer = writer  # type: ignore[assignment]  # it asks for nothing but schedule_write()
    return writer


def close_fds(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
