"""Who calls."""

import asyncio
import os

import pytest
from dbus_fast import Variant

from helpers.bus_service import Service, client
from helpers.private_bus import PrivateBus
from helpers.wait import until
from musterd.bus import caller as caller_module
from musterd.bus.caller import Callers, Credentials, parse_credentials
from musterd.bus.errors import CallerGone
from musterd.bus.link import Reply


async def test_bus_says_who_calls(private_bus: PrivateBus) -> None:
    async with Service().on(private_bus.address) as bus, client(private_bus.address) as link:
        callers = Callers(bus)
        credentials = await callers.get(link.unique_name)
        assert credentials == Credentials(os.getuid(), os.getpid())
        assert await callers.get(link.unique_name) is credentials


async def test_caller_that_leaves_is_forgotten(private_bus: PrivateBus) -> None:
    async with Service().on(private_bus.address) as bus:
        callers = Callers(bus)
        async with client(private_bus.address) as link:
            credentials, same = await asyncio.gather(*(callers.get(link.unique_name) for _ in range(2)))
            assert credentials is same
        await until(lambda: not callers._known)
        with pytest.raises(CallerGone):
            await callers.get(link.unique_name)
        assert bus._subscriptions == []


async def test_longest_unused_caller_makes_room(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_module, "MAX_KNOWN", 2)
    async with (
        Service().on(private_bus.address) as bus,
        client(private_bus.address) as a,
        client(private_bus.address) as b,
        client(private_bus.address) as c,
    ):
        callers = Callers(bus)
        for link in (a, b, a, c):
            await callers.get(link.unique_name)
        assert list(callers._known) == [a.unique_name, c.unique_name]
        assert len(bus._subscriptions) == 2


async def test_restarted_bus_gives_names_to_others(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address) as bus:
        callers = Callers(bus)
        async with client(private_bus.address) as link:
            await callers.get(link.unique_name)
            private_bus.restart()
            await service.states.get()
            assert callers._known == {}


def test_caller_without_a_user_is_none() -> None:
    with pytest.raises(CallerGone):
        parse_credentials(":1.9", Reply(({"ProcessID": Variant("u", 8)},)))
