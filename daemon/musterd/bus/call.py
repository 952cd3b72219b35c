"""What a method call is to those who answer it, and what they supply: handlers, getters, the objects."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .contract import Values


@dataclass(frozen=True, slots=True)
class Call:
    """A method call. `args` fit the contract's signature; a variant is a dbus_fast.Variant."""

    sender: str  # the unique name, as the bus says
    path: str
    interface: str
    member: str
    args: tuple[Any, ...]
    interfaces: Collection[str] = ()  # what of ours lives at `path`, for this caller
    is_interactive: bool = False  # polkit may ask the user behind this call
    arrived: float = 0.0  # in the time of the loop; it may have waited for its turn since


Handler = Callable[[Call], Awaitable[Sequence[object] | None]]
"""Returns the values of the reply, None for none, or raises a MusterError.

An argument of type `h` is an fd that is closed when the handler returns: dup what you keep. An fd in the
result is given away: the front closes it once the reply is queued, or when there will be no reply.
"""

Getter = Callable[[Call, str], Awaitable[Values]]  # (call, path): all properties of one interface there
Setter = Callable[[Call, str, object], Awaitable[None]]  # (call, property, value of the contract's type)


class Objects(Protocol):
    """Which objects there are, for one caller. Either method may raise a MusterError."""

    async def interfaces(self, call: Call, path: str) -> Collection[str]:
        """Names of our interfaces on the object `path`; empty: it does not exist for this caller."""

    async def paths(self, call: Call) -> Collection[str]:
        """The paths of all objects this caller may see."""
