"""A logind of the test's own, as far as it tells of a shutdown: as org.freedesktop.login1(5) has it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from musterd.bus.call import Call
from musterd.bus.connection import BusConnection
from musterd.bus.contract import Contract, Values
from musterd.bus.errors import RemoteError
from musterd.bus.front import Front
from musterd.bus.login1 import MANAGER, NAME, PATH

XML = f"""<node><interface name="{MANAGER}">
 <property name="PreparingForShutdown" type="b" access="read"/>
 <signal name="PrepareForShutdown"><arg name="start" type="b"/></signal>
</interface></node>"""


@dataclass
class FakeLogind:
    is_preparing: bool = False
    bus: BusConnection | None = None
    asked: asyncio.Queue[str] = field(default_factory=asyncio.Queue)  # unique names of who asked

    async def interfaces(self, _call: Call, path: str) -> Collection[str]:
        return (MANAGER,) if path == PATH else ()

    async def paths(self, _call: Call) -> Collection[str]:
        return [PATH]

    async def properties(self, call: Call, _path: str) -> Values:
        self.asked.put_nowait(call.sender)
        return {"PreparingForShutdown": self.is_preparing}

    async def prepare(self, who: str, *, start: bool = True) -> None:
        """Tell of a shutdown, or that it was called off; returns when `who` has heard it."""
        assert self.bus
        self.is_preparing = start
        assert self.bus.emit(PATH, MANAGER, "PrepareForShutdown", [start])
        with suppress(RemoteError):  # a plain client serves nothing, and says so behind the signal
            await self.bus.call(who, "/", "org.freedesktop.DBus.Peer", "Ping")


@asynccontextmanager
async def fake_logind(
    address: str, *, is_preparing: bool = False, name: str = NAME
) -> AsyncIterator[FakeLogind]:
    logind = FakeLogind(is_preparing)
    front = Front(Contract([XML]), logind)
    front.properties(MANAGER, logind.properties)
    async with asyncio.TaskGroup() as tasks, BusConnection.open(address, tasks, name, front) as bus:
        logind.bus = bus
        yield logind
