"""A program that prints every signal it can get on a bus, a line each, and "listening" first."""

import asyncio
import os

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

BUS = "org.freedesktop.DBus"


async def main() -> None:
    bus = await MessageBus(os.environ["MUSTERD_BUS"]).connect()

    def show(message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.sender != BUS:
            print(message.path, message.interface, message.member, message.body, flush=True)

    bus.add_message_handler(show)
    rule = "type='signal'"
    await bus.call(Message(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", signature="s", body=[rule]))
    print("listening", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
