"""A client in a process of its own, so that it can really be stopped.

slow_reader.py ADDRESS CALLS SIGNALS: subscribes, makes CALLS calls of Blob(200000) at once, says "ready",
collects CALLS replies and SIGNALS Tick signals, and prints what came in which order as JSON.
"""

import asyncio
import json
import sys

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

NAME, ROOT, TEST = "org.example.Test1", "/org/example/Test1", "org.example.Test"
BUS = "org.freedesktop.DBus"


async def main(address: str, n_calls: int, n_signals: int) -> None:
    bus = await MessageBus(address).connect()
    rule = f"type='signal',interface='{TEST}'"
    await bus.call(Message(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", signature="s", body=[rule]))
    replies: list[int] = []
    signals: list[int] = []
    complete = asyncio.Event()

    def collect(message: Message) -> bool:
        if message.message_type is MessageType.SIGNAL and message.member == "Tick":
            signals.append(message.body[0])
        elif message.message_type is MessageType.METHOD_RETURN and message.signature == "s":
            assert len(message.body[0]) == 200_000
            replies.append(message.reply_serial)
        if len(replies) == n_calls and len(signals) == n_signals:
            complete.set()
        return True

    bus.add_message_handler(collect)
    for _ in range(n_calls):
        await bus.send(Message(NAME, ROOT, TEST, "Blob", signature="u", body=[200_000]))
    print("ready", flush=True)
    await complete.wait()
    print(json.dumps({"replies": replies, "signals": signals}), flush=True)
    bus.disconnect()


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
