"""A message as it came: its header is known at once, its body is read when somebody wants it.

A body may cost thousands of times what its header costs: 30 MiB of variants are 20 s of work, and 600 MB
of objects. So nobody reads those of messages that are refused anyway. And what dbus-fast cannot read, though
the bus has passed it on, is the trouble of who sent it: 64 variants in each other and an array in the
innermost are lawful for dbus-daemon, and one too many for dbus-fast, which ends the connection then.
"""

import io
import struct
from typing import Any

from dbus_fast import Message, MessageFlag, MessageType
from dbus_fast._private.unmarshaller import Unmarshaller

from musterd.core.errors import InvalidArgs

FIXED = 16  # bytes at the beginning of each message: how long the others are (D-Bus specification)

# Codes of header fields.
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)


class Unreadable(InvalidArgs):
    """The body of a message cannot be read, or is longer than anybody wants to."""


def padded(size: int) -> int:
    return size + -size % 8


class Received(Message):
    """`size` is that of its body in bytes. Raises ValueError where the header cannot be read."""

    def __init__(self, header: bytes, body: bytes | None, size: int, fds: list[int]) -> None:
        """`body` is None where it was too long to be kept."""
        order = header[0]
        fields = _fields_of(order, header)
        super().__init__(
            fields.get(DESTINATION),
            fields.get(PATH),
            fields.get(INTERFACE),
            fields.get(MEMBER),
            MessageType(header[1]),
            MessageFlag(header[2]),
            fields.get(ERROR_NAME),
            fields.get(REPLY_SERIAL),
            fields.get(SENDER),
            fds,
            serial=struct.unpack(_numbers(order), header[8:12])[0],
            validate=False,  # the bus has
        )
        self.size = size
        self._order = order
        self._signature = str(fields.get(SIGNATURE) or "")
        self._raw = body
        self._values: list[Any] | None = None

    @property
    def signature(self) -> str:
        return self._signature

    @signature.setter
    def signature(self, _: str) -> None:
        """By the library, before anybody has seen the header."""

    @property
    def body(self) -> list[Any]:
        """Raises Unreadable."""
        if self._values is None:
            self._values = self._read()
            self._raw = None
        return self._values

    @body.setter
    def body(self, _: list[Any]) -> None:
        """By the library, as above."""

    def _read(self) -> list[Any]:
        if not self.size:
            return []
        if self._raw is None:
            raise Unreadable(f"The arguments have {self.size} bytes in all, that is too much.")
        try:
            return _unmarshall(self._order, self._signature, self._raw)
        except Exception as exc:  # whatever the library stumbles over
            raise Unreadable(f"The arguments cannot be read: {exc}.") from exc


def _numbers(order: int) -> str:
    return "<I" if order == ord("l") else ">I"


def _fields_of(order: int, header: bytes) -> dict[int, Any]:
    """By code: dbus-fast reads them as if they were the body of another message."""
    try:
        (fields,) = _unmarshall(order, "a(yv)", header[12:16] + bytes(4) + header[16:])
    except Exception as exc:
        raise ValueError(f"the header cannot be read: {exc}") from exc
    return {code: variant.value for code, variant in fields}


def _unmarshall(order: int, signature: str, body: bytes) -> list[Any]:
    """As the body of a message about which no more is known."""
    text = signature.encode()
    field = bytes([SIGNATURE, 1]) + b"g\0" + bytes([len(text)]) + text + b"\0"
    start = bytes([order, MessageType.SIGNAL.value, 0, 1])
    start += b"".join(struct.pack(_numbers(order), number) for number in (len(body), 1, len(field))) + field
    stream = io.BytesIO(start + bytes(-len(start) % 8) + body)
    message = Unmarshaller(stream).unmarshall()  # type: ignore[arg-type]  # it only reads
    if message is None:
        raise ValueError("it is incomplete")
    return list(message.body)
