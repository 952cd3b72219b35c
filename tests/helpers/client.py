"""A client of the daemon within the test, for many calls at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import Variant

from helpers.daemon import NAME, ROOT
from musterd.bus.connection import BusConnection


class Client:
    def __init__(self, bus: BusConnection) -> None:
        self.bus = bus

    async def call(
        self, member: str, signature: str = "", *args: object, path: str = ROOT, within: float = 60
    ) -> Sequence[Any]:
        interface, _, method = member.rpartition(".")
        name = f"{NAME}.{interface or 'Manager'}"
        reply = await self.bus.call(NAME, path, name, method, signature, list(args), within=within)
        return tuple(reply.body)

    async def register(self, pid: int, **spec: str) -> str:
        """Register a process with text keys -> the id."""
        values = {"pid": Variant("u", pid)}
        values |= {key.replace("_", "-"): Variant("s", value) for key, value in spec.items()}
        session_id, _ = await self.call("RegisterSession", "a{sv}", values)
        return str(session_id)

    async def inhibit(self, why: str, session: str) -> int:
        """Keep a session, or with "" all, from being reaped -> the fd that does it."""
        args = ["reap", "test", why, "block", session]
        reply = await self.bus.call(NAME, ROOT, f"{NAME}.Manager", "Inhibit", "sssss", args, takes_fds=True)
        return reply.fds[0]


async def until_empty(caller: Client, member: str) -> None:
    """Ask for a list until there is nothing in it; each call waits for the daemon's loop."""
    while (await caller.call(member))[0]:
        pass


@asynccontextmanager
async def client(address: str) -> AsyncIterator[Client]:
    async with asyncio.TaskGroup() as tasks, BusConnection.open(address, tasks) as bus:
        yield Client(bus)
