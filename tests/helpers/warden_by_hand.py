"""A program that attaches as a warden, and then says what its standard input says.

What the bus answers is its first line; then comes what the daemon says.
"""

import asyncio
import os
import sys
import threading
from contextlib import suppress

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

NAME = "org.musterd.Muster1"


async def attach() -> int:
    """The line; ends the program if there is none."""
    bus = await MessageBus(os.environ["MUSTERD_BUS"], negotiate_unix_fd=True).connect()
    reply = await bus.call(Message(NAME, "/org/musterd/Muster1", f"{NAME}.Wardens", "Attach"))
    assert reply is not None
    if reply.message_type is MessageType.ERROR:
        sys.exit(f"{reply.error_name} {reply.body}")
    return os.dup(reply.unix_fds[0])


def relay(source: int, target: int) -> None:
    while data := os.read(source, 65536):
        while data:
            data = data[os.write(target, data) :]


def listen(line: int) -> None:
    with suppress(ConnectionResetError):  # it was ended with more of ours unread
        relay(line, 1)
    os._exit(0)  # the daemon has ended it


def main() -> None:
    os.read(0, 1)  # not before the test says so
    try:
        line = asyncio.run(attach())
    except SystemExit as exc:
        print(exc, flush=True)
        raise
    print("attached", flush=True)
    threading.Thread(target=listen, args=(line,), daemon=True).start()
    try:
        relay(0, line)
    except OSError:
        os._exit(0)


main()
