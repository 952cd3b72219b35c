"""Who calls, as the bus knows it: never what an argument says.

callers = Callers(bus)
credentials = await callers.get(call.sender)
"""

import asyncio
from dataclasses import dataclass

from dbus_fast import Variant

from .connection import BusConnection, BusState
from .errors import CallerGone, RemoteError
from .link import Reply
from .signals import BUS, BUS_PATH, Signal, Subscription, owner_changes

MAX_KNOWN = 256  # callers; each holds a match rule, of which a system dbus-daemon grants us 512


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one connection, taken when it was made."""

    uid: int
    pid: int  # 0: the bus does not say; else of the process that connected, maybe gone since


class Callers:
    """By unique name, which is never used again while a bus runs.

    An entry ends with its connection, or when it is the longest unused.
    """

    def __init__(self, bus: BusConnection) -> None:
        self._bus = bus
        self._known: dict[str, Credentials] = {}  # the longest unused first
        self._watches: dict[str, Subscription] = {}
        self._asking = asyncio.Lock()
        bus.listen(self._on_state)

    async def get(self, name: str) -> Credentials:
        """Ask who `name` is. Raises CallerGone when it left, another BusError when the bus is silent."""
        if name not in self._known:
            async with self._asking:
                if name not in self._known:
                    await self._learn(name)
        credentials = self._known.pop(name)
        self._known[name] = credentials
        return credentials

    async def _learn(self, name: str) -> None:
        # First the watch, then the question: a caller that leaves in between cannot stay in the cache.
        self._watches[name] = await self._bus.subscribe(owner_changes(name), self._owner_changed)
        try:
            reply = await self._bus.call(BUS, BUS_PATH, BUS, "GetConnectionCredentials", "s", [name])
        except BaseException as exc:
            self._forget(name)
            if isinstance(exc, RemoteError):
                raise CallerGone(f"'{name}' left the bus") from exc
            raise
        self._remember(name, parse_credentials(name, reply))

    def _remember(self, name: str, credentials: Credentials) -> None:
        if name not in self._watches:  # left while its answer was on the way
            raise CallerGone(f"'{name}' left the bus")
        self._known[name] = credentials
        if len(self._known) > MAX_KNOWN:
            self._forget(next(iter(self._known)))

    def _forget(self, name: str) -> None:
        watch = self._watches.pop(name, None)
        if watch is not None:
            self._bus.unsubscribe(watch)
        self._known.pop(name, None)

    def _owner_changed(self, signal: Signal) -> None:
        self._forget(signal.args[0])

    def _on_state(self, _state: BusState, _reason: str) -> None:
        # A restarted bus gives the same names to others; after a move a departure may have been missed.
        for name in tuple(self._known):
            self._forget(name)


def parse_credentials(name: str, reply: Reply) -> Credentials:
    """The answer to GetConnectionCredentials (D-Bus specification, "Message Bus Messages"), a{sv}."""
    values: dict[str, Variant] = reply.body[0]
    known = {key: variant.value for key, variant in values.items()}
    if "UnixUserID" not in known:
        raise CallerGone(f"the bus does not know the user behind '{name}'")
    return Credentials(known["UnixUserID"], known.get("ProcessID", 0))
