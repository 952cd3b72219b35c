"""A process of a user that asks what it is told to, over one connection: asker_program.py ADDRESS

Each line is JSON. "start" starts a child, answered with its pid. A list of questions, each (path, interface,
member, signature, arguments, whether polkit may ask its user), is answered with a list of (name of the error
or "", values of the reply or the error's text). A variant is {"signature": ..., "value": ...}.
"""

import asyncio
import json
import subprocess
import sys
from typing import Any

from dbus_fast import Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

NAME = "org.musterd.Muster1"
CHILDREN: list["subprocess.Popen[bytes]"] = []


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"signature", "value"}:
            return Variant(value["signature"], value["value"])
        return {key: typed(item) for key, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else value


async def ask(bus: MessageBus, question: list[Any]) -> tuple[str, list[Any]]:
    path, interface, member, signature, args, is_interactive = question
    flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if is_interactive else MessageFlag.NONE
    message = Message(
        NAME, path, interface, member, signature=signature, body=[typed(arg) for arg in args], flags=flags
    )
    reply = await bus.call(message)
    assert reply is not None
    if reply.message_type is MessageType.ERROR:
        return reply.error_name or "?", reply.body
    return "", reply.body  # fds that come with it stay open as long as this process lives


def start_child() -> int:
    """It ends with us: nobody else writes into it."""
    CHILDREN.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
    return CHILDREN[-1].pid


async def answer(bus: MessageBus, line: Any) -> Any:
    return start_child() if line == "start" else [await ask(bus, question) for question in line]


async def main(address: str) -> None:
    bus = await MessageBus(address, negotiate_unix_fd=True).connect()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        said = await answer(bus, json.loads(line))
        print(json.dumps(said, default=lambda variant: variant.value), flush=True)
    bus.disconnect()
    for child in CHILDREN:
        child.communicate()


asyncio.run(main(sys.argv[1]))
