"""A program that calls the daemon on the bus it is given as fast as it can, and wants no reply."""

import asyncio
import sys

from dbus_fast import Message, MessageFlag
from dbus_fast.aio import MessageBus


async def main(address: str) -> None:
    bus = await MessageBus(bus_address=address).connect()
    for number in range(sys.maxsize):
        await bus.send(
            Message(
                destination="org.musterd.Muster1",
                path="/org/musterd/Muster1",
                interface="org.musterd.Muster1.Manager",
                member="ListSessions",
                flags=MessageFlag.NO_REPLY_EXPECTED,
            )
        )
        if number == 1000:
            print("flooding", flush=True)


asyncio.run(main(sys.argv[1]))
