"""A program that takes so many inhibitors as its argument says, and holds them; says how the last went."""

import asyncio
import os
import sys

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

NAME = "org.musterd.Muster1"


async def main() -> None:
    bus = await MessageBus(os.environ["MUSTERD_BUS"], negotiate_unix_fd=True).connect()
    print("ready", flush=True)
    held, last = [], ""
    for _ in range(int(sys.argv[1])):
        ask = Message(NAME, "/org/musterd/Muster1", f"{NAME}.Manager", "Inhibit", signature="sssss")
        ask.body = ["reap", "greedy", "all of it", "block", ""]
        reply = await bus.call(ask)
        assert reply is not None
        held += reply.unix_fds
        last = reply.error_name or "" if reply.message_type is MessageType.ERROR else "held"
    print(last, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
