"""Reads messages in portions, so that nobody who talks without pause keeps everybody else waiting.

dbus-fast's reader goes on until its socket is empty. One client of a dbus-broker that sends calls without
wanting replies kept the loop from its next turn for 4 seconds.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

from dbus_fast.aio import MessageBus
from dbus_fast.aio.message_reader import build_message_reader

PORTION = 256  # messages between two turns of the loop: about 10 ms; much smaller ones let a flood pile up


class _Portion:
    """A socket that seems to be empty when the portion is used up. The library reads it twice a message."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = 0

    def serve(self) -> None:
        self._left = 2 * PORTION

    def recvmsg(self, *args: int) -> tuple[Any, ...]:
        if not self._left:
            raise BlockingIOError(errno.EAGAIN, "portion used up")  # the library looks at the number
        self._left -= 1
        return self._sock.recvmsg(*args)


def install_reader(bus: MessageBus) -> Callable[[], None]:
    """Replace the reader of a connected bus that negotiates fds; returns what reads one portion."""
    assert bus._sock is not None
    portion = _Portion(bus._sock)
    read = build_message_reader(portion, bus._process_message, bus._finalize, negotiate_unix_fd=True)  # type: ignore[arg-type]

    def read_portion() -> None:
        portion.serve()
        read()

    asyncio.get_running_loop().add_reader(bus._sock, read_portion)
    return read_portion
