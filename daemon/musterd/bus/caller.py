"""Who calls, as the bus knows it: never what an argument says.

callers = Callers(bus)
caller = await callers.get(call.sender)
"""

import asyncio
import os
from dataclasses import dataclass

from dbus_fast import Variant

from .connection import BusConnection, BusState
from .errors import CallerGone, RemoteError
from .link import Reply
from .signals import BUS, BUS_PATH, Signal, Subscription, owner_changes
from .writer import close_fds

MAX_KNOWN = 256  # callers; each holds a match rule, of which a system dbus-daemon grants us 512


@dataclass(frozen=True, slots=True)
class Caller:
    """One connection on the bus. Its process can only be trusted to be the same through `pidfd`."""

    name: str  # unique, never used again while this bus runs
    uid: int
    pid: int  # 0: the bus does not say; else of the process that connected, maybe gone since
    pidfd: int | None  # ours, closed when the caller leaves; dbus-daemon 1.16 and dbus-broker 34 have it


class Callers:
    """Callers by unique name. An entry ends with its connection, or when it is the longest unused."""

    def __init__(self, bus: BusConnection) -> None:
        self._bus = bus
        self._known: dict[str, Caller] = {}  # the longest unused first
        self._watches: dict[str, Subscription] = {}
        self._asking = asyncio.Lock()
        bus.listen(self._on_state)

    async def get(self, name: str) -> Caller:
        """Ask who `name` is. Raises CallerGone when it left, another BusError when the bus is silent."""
        if name not in self._known:
            async with self._asking:
                if name not in self._known:
                    await self._learn(name)
        caller = self._known.pop(name)
        self._known[name] = caller
        return caller

    def forget_all(self) -> None:
        """Close what is held for callers. The last thing to do, and right when names may mean others."""
        for name in tuple(self._known):
            self._forget(name)

    async def _learn(self, name: str) -> None:
        # First the watch, then the question: a caller that leaves in between cannot stay in the cache.
        self._watches[name] = await self._bus.subscribe(owner_changes(name), self._owner_changed)
        try:
            reply = await self._bus.call(
                BUS, BUS_PATH, BUS, "GetConnectionCredentials", "s", [name], takes_fds=True
            )
        except BaseException as exc:
            self._forget(name)
            if isinstance(exc, RemoteError):
                raise CallerGone(f"'{name}' left the bus") from exc
            raise
        self._remember(parse_credentials(name, reply))

    def _remember(self, caller: Caller) -> None:
        self._known[caller.name] = caller
        if caller.name not in self._watches:  # left while its answer was on the way
            self._forget(caller.name)
            raise CallerGone(f"'{caller.name}' left the bus")
        if len(self._known) > MAX_KNOWN:
            self._forget(next(iter(self._known)))

    def _forget(self, name: str) -> None:
        watch = self._watches.pop(name, None)
        if watch is not None:
            self._bus.unsubscribe(watch)
        caller = self._known.pop(name, None)
        if caller is not None and caller.pidfd is not None:
            os.close(caller.pidfd)

    def _owner_changed(self, signal: Signal) -> None:
        self._forget(signal.args[0])

    def _on_state(self, _state: BusState, _reason: str) -> None:
        # A restarted bus gives the same names to others; after a move a departure may have been missed.
        self.forget_all()


def parse_credentials(name: str, reply: Reply) -> Caller:
    """The answer to GetConnectionCredentials (D-Bus specification, "Message Bus Messages"), a{sv}."""
    values: dict[str, Variant] = reply.body[0]
    known = {key: variant.value for key, variant in values.items()}
    index = known.get("ProcessFD")
    pidfd = reply.fds[index] if index is not None and index < len(reply.fds) else None
    close_fds([fd for fd in reply.fds if fd != pidfd])
    if "UnixUserID" not in known:
        close_fds([] if pidfd is None else [pidfd])
        raise CallerGone(f"the bus does not know the user behind '{name}'")
    return Caller(name, known["UnixUserID"], known.get("ProcessID", 0), pidfd)
