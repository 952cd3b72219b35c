"""The front door: every method call from the bus comes through here, in the same order of questions.

Is the caller within its limit of calls? Does the object exist for this caller, does the interface live there, does
the member exist, do the arguments fit its signature and the limits? Only then a handler runs; whatever it raises
becomes one of our error names (`errors.describe`). The contract says which members there are, so nothing is
exported object by object: `Objects`, supplied by the owner, says what lives where.

    front = Front(contract, objects, limits)
    front.register("org.musterd.Muster1.Manager", {"ReleaseSession": release, ...})
    front.properties("org.musterd.Muster1.Session", getter)
    front.check()

A handler is `async def release(call: Call) -> Sequence[object] | None`: the values of the reply, None for none.
An argument of type `h` is an fd that is closed when the handler returns (dup what you keep); an fd in the result
belongs to the front, which closes it when the reply is queued.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from dbus_fast import Message, MessageFlag
from dbus_fast import introspection as intr

from musterd.core.errors import Failed, InvalidArgs, LimitReached

from .contract import STANDARD, Contract, Values
from .errors import BusGone, StandardError, Unanswerable, describe
from .limits import Limits
from .link import Link
from .writer import close_fds

logger = logging.getLogger(__name__)

SENDER: ContextVar[str] = ContextVar("sender")  # unique name of who is being served in this task


@dataclass(frozen=True, slots=True)
class Call:
    """A method call as a handler sees it. `args` fit the contract's signature; variants are dbus_fast.Variant."""

    sender: str  # the unique name, as the bus says
    path: str
    interface: str
    member: str
    args: tuple[Any, ...]
    is_interactive: bool = False  # the caller lets polkit ask its user


Handler = Callable[[Call], Awaitable[Sequence[object] | None]]
Getter = Callable[[Call, str], Awaitable[Values]]  # (call, path): all properties of an interface there
Setter = Callable[[Call, str, object], Awaitable[None]]  # (call, property, value of the contract's type)


class Objects(Protocol):
    """Which objects there are. Both answers are for one caller: what it may not see does not exist for it."""

    async def interfaces(self, call: Call, path: str) -> Collection[str]:
        """Names of our interfaces on the object `path`; empty: no such object."""

    async def paths(self, call: Call) -> Collection[str]:
        """The paths of all objects."""


class Front:
    def __init__(self, contract: Contract, objects: Objects, limits: Limits | None = None) -> None:
        from .standard import Standard  # noqa: PLC0415

        self.contract = contract
        self.limits = limits or Limits()
        self._objects = objects
        self._handlers: dict[str, Mapping[str, Handler]] = {}
        self._in_flight: Counter[str] = Counter()
