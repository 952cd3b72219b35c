"""What we ask of the bus itself (D-Bus specification, "Message Bus Messages")."""

from typing import Any

from dbus_fast import Message, MessageFlag, NameFlag, RequestNameReply

from .errors import NameTaken
from .link import Link
from .signals import BUS, BUS_PATH

TIMEOUT = 25.0  # seconds; when a dbus-daemon stalls, everybody does

CLAIM = NameFlag.ALLOW_REPLACEMENT | NameFlag.DO_NOT_QUEUE  # replaceable by our own second connection
TAKE_OVER = CLAIM | NameFlag.REPLACE_EXISTING


async def ask(
    link: Link, member: str, signature: str = "", *args: object, within: float = TIMEOUT
) -> tuple[Any, ...]:
    """Call a method of the bus and return what it says."""
    return (await link.call(_message(member, signature, *args), within=within)).body


def tell(link: Link, member: str, signature: str, *args: object) -> None:
    """Call a method of the bus whose answer does not matter."""
    message = _message(member, signature, *args)
    message.flags = MessageFlag.NO_REPLY_EXPECTED
    link.send(message)


async def claim(link: Link, name: str, flags: NameFlag) -> None:
    """Make `name` ours. Raises NameTaken when another program has it."""
    (answer,) = await ask(link, "RequestName", "su", name, flags.value)
    if answer not in (RequestNameReply.PRIMARY_OWNER.value, RequestNameReply.ALREADY_OWNER.value):
        raise NameTaken(f"the name '{name}' belongs to another program")


def is_name_lost(message: Message, name: str) -> bool:
    return message.sender == BUS and message.member == "NameLost" and message.body == [name]


def _message(member: str, signature: str, *args: object) -> Message:
    return Message(BUS, BUS_PATH, BUS, member, signature=signature, body=list(args))
