"""logind says that the machine goes down, and nobody else does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from helpers.fake_logind import fake_logind
from helpers.private_bus import PrivateBus
from musterd.bus.connection import BusConnection
from musterd.bus.login1 import Shutdowns


class Asking(Shutdowns):
    """Tells when it has asked: a logind that comes while it does would be asked twice."""

    def __init__(self, tell: Callable[[bool], None]) -> None:
        super().__init__(tell)
        self.has_asked = asyncio.Event()

    async def _ask(self, bus: BusConnection) -> None:
        try:
            await super()._ask(bus)
        finally:
            self.has_asked.set()


@asynccontextmanager
async def shutdowns(address: str) -> AsyncIterator[tuple[BusConnection, asyncio.Queue[bool]]]:
    """Who follows them, and what it was told."""
    told: asyncio.Queue[bool] = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks, BusConnection.open(address, tasks) as bus:
        asking = Asking(told.put_nowait)
        following = tasks.create_task(asking.follow(bus))
        await asking.has_asked.wait()
        try:
            yield bus, told
        finally:
            following.cancel()


async def test_a_shutdown_begins_and_is_called_off(private_bus: PrivateBus) -> None:
    async with (
        fake_logind(private_bus.address) as logind,
        shutdowns(private_bus.address) as (bus, told),
    ):
        assert not await told.get()
        await logind.prepare(bus.unique_name)
        assert told.get_nowait()
        await logind.prepare(bus.unique_name, start=False)
        assert not told.get_nowait()


async def test_one_that_has_begun_before_is_known(private_bus: PrivateBus) -> None:
    async with (
        fake_logind(private_bus.address, is_preparing=True),
        shutdowns(private_bus.address) as (_, told),
    ):
        assert await told.get()


async def test_another_logind_is_heard_and_a_stranger_is_not(private_bus: PrivateBus) -> None:
    async with shutdowns(private_bus.address) as (bus, told):
        async with fake_logind(private_bus.address):
            assert not await told.get()
        async with fake_logind(private_bus.address, name="org.example.Stranger") as stranger:
            await stranger.prepare(bus.unique_name)
            assert told.empty()
        async with fake_logind(private_bus.address) as logind:
            assert not await told.get()
            await logind.prepare(bus.unique_name)
            assert told.get_nowait()


async def test_after_a_loss_of_the_bus_it_is_asked_again(private_bus: PrivateBus) -> None:
    async with (
        fake_logind(private_bus.address) as logind,
        shutdowns(private_bus.address) as (_, told),
    ):
        assert not await told.get()
        logind.is_preparing = True
        private_bus.restart()
        assert await told.get()
