"""The system service: wardens are processes of their users, and polkit says who is an operator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from musterd.agents.catalog import ADAPTERS
from musterd.bus.connection import BusConnection
from musterd.bus.polkit import Polkit
from musterd.bus.systemd1 import WardenUnits
from musterd.core.config import Config
from musterd.ports import Clock
from musterd.realm import Realm
from musterd.warden.census import Census
from musterd.warden.remotes import RemoteWardens


@asynccontextmanager
async def realm(config: Config, clock: Clock, tasks: asyncio.TaskGroup) -> AsyncIterator[Realm]:
    units, polkit, interval = WardenUnits(), Polkit(), config.discovery.period
    wardens = RemoteWardens(units, tasks, clock, interval)

    def connect(bus: BusConnection) -> None:
        polkit.bus = units.bus = bus

    def begin() -> None:
        census = tasks.create_task(Census(wardens, ADAPTERS.values(), interval).run(), name="census")
        stack.callback(census.cancel)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(wardens.close)
        yield Realm(wardens, polkit, wardens.attach, connect, begin)
