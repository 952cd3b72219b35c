"""How much one caller may ask of us in one message, and how much we say at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dbus_fast import Variant

from musterd.core.errors import InvalidArgs

KIB = 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls at once, and so many a second in the long run; those that come faster wait."""

    burst: int
    per_second: int


@dataclass(frozen=True, slots=True)
class Limits:
    """All sizes in bytes."""

    calls_in_flight: int = 64  # per connection; a call is in flight until the bus has taken its answer
    calls_in_flight_per_user: int = 256  # on all of its connections
    # Arguments of calls in flight, but for short calls. A text may take four times as much in memory.
    bytes_in_flight_per_user: int = 4096 * KIB  # and per connection; a dozen of the longest hooks
    bytes_in_flight: int = 32 * 1024 * KIB  # of all users together, however many mean ill
    short_call: int = 8 * KIB
    # Nobody waits longer than all in flight take at that rate: less than a second, and a hook has 1.5.
    rate: Rate = Rate(burst=1000, per_second=100)  # of one connection
    rate_per_user: Rate = Rate(burst=4000, per_second=400)
    string: int = 4 * KIB
    long_strings: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (interface, member): limit
    body: int = 64 * KIB  # all of a call's arguments, without long strings
    reply: int = 256 * KIB
    queue_high: int = 1024 * KIB  # more waiting than this: optional signals are dropped
    queue_full: int = 16 * 1024 * KIB  # more waiting than this: no signals, only short answers
    short_reply: int = 4 * KIB

    def check_size(self, interface: str, member: str, size: int) -> None:
        """Refuse arguments that are certainly too long, by their bytes in the message."""
        longest = 2 * self.body + self.long_strings.get((interface, member), 0)  # with lengths, and padded
        if size > longest:
            raise InvalidArgs(f"The arguments have {size} bytes in all, that is too much.")

    def check(self, interface: str, member: str, args: Sequence[object]) -> None:
        """Refuse arguments that are too long, before anybody looks at what they say."""
        string = self.long_strings.get((interface, member), self.string)
        scale = Scale(string, self.body + (string if string > self.string else 0))
        for value in args:
            scale.weigh(value)

    def reply_limit(self, queued_bytes: int) -> int:
        return self.reply if queued_bytes <= self.queue_full else self.short_reply


class Scale:
    """Adds up a body value by value and stops at the first limit: a huge body is never walked to its end."""

    NODE = 4  # bytes an item costs at least, so that a million empty strings weigh something

    def __init__(self, string: int, body: int) -> None:
        self._string = string
        self._body = body
        self._weight = 0

    def weigh(self, value: object) -> None:
        self._add(self.NODE)
        match value:
            case str():
                self._weigh_string(len(value) if value.isascii() else len(value.encode()))
            case bytes() | bytearray():
                self._weigh_string(len(value))
            case Variant():
                self.weigh(value.value)
            case list():
                for item in value:
                    self.weigh(item)
            case dict():
                for key, item in value.items():
                    self.weigh(key)
                    self.weigh(item)

    def _weigh_string(self, size: int) -> None:
        if size > self._string:
            raise InvalidArgs(f"A string has {size} bytes, more than {self._string} are not taken.")
        self._add(size)

    def _add(self, size: int) -> None:
        self._weight += size
        if self._weight > self._body:
            raise InvalidArgs(f"The arguments have more than {self._body} bytes in all.")
