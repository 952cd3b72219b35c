"""The name on the bus, through restarts, deaf buses and rivals."""

import asyncio
import signal
from pathlib import Path

import pytest

from helpers.bus_service import (
    NAME,
    ROOT,
    TEST,
    THING,
    Heard,
    Service,
    add_match,
    call,
    client,
    request_name,
    signal_to,
)
from helpers.private_bus import DBusDaemon, PrivateBus
from musterd.bus.connection import BusConnection, BusState
from musterd.bus.errors import BusGone, NameTaken, RemoteError
from musterd.bus.link import Link
from musterd.bus.signals import Match, Signal, owner_changes


async def test_service_comes_back_after_a_restart_of_the_bus(private_bus: PrivateBus) -> None:
    service = Service()
    heard: asyncio.Queue[Signal] = asyncio.Queue()
    async with service.on(private_bus.address) as bus:
        await bus.subscribe(owner_changes("org.example.Other"), heard.put_nowait)
        private_bus.stop()
        assert await service.states.get() is BusState.DOWN
        assert not bus.emit(ROOT, TEST, "Tick", [1, ""])
        with pytest.raises(BusGone):
            await bus.probe()

        private_bus.start()
        assert await service.states.get() is BusState.UP
        await bus.probe(within=60)
        async with client(private_bus.address) as link:
            assert await call(link, "Echo", "s", "back") == ("back",)
            await link.call(request_name("org.example.Other"), within=60)
            assert (await heard.get()).args == ("org.example.Other", "", link.unique_name)


async def test_deaf_bus_loses_the_name_to_a_second_connection(tmp_path: Path) -> None:
    """dbus-daemon only: dbus-broker charges the receiver and never stops reading a sender."""
    service = Service()
    with DBusDaemon(
        tmp_path / "deaf", {"max_incoming_bytes": 500_000, "max_outgoing_bytes": 100_000_000}
    ) as it:
        async with service.on(it.address) as bus, client(it.address) as stopped:
            await stopped.call(add_match(f"type='signal',interface='{TEST}'"), within=60)
            stopped.stop_reading()
            first = bus.unique_name
            for number in range(1000):
                bus.emit(ROOT, TEST, "Tick", [number, "x" * 2000])

            await bus.probe(within=20)  # as long as the second connection may take
            assert await service.states.get() is BusState.MOVED
            assert bus.unique_name != first
            assert bus.queued_bytes == 0
            async with client(it.address) as link:
                assert await call(link, "Echo", "s", "heard") == ("heard",)
            await bus.probe(within=60)
            assert service.states.empty(), "a move is no loss"


async def test_signals_do_not_queue_without_end(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address) as bus:
        private_bus.signal(signal.SIGSTOP)
        while bus.emit(ROOT, TEST, "Tick", [1, "x" * 100_000], optional=True):
            pass
        assert 1_000_000 < bus.queued_bytes < 1_300_000
        while bus.emit(ROOT, TEST, "Tick", [2, "x" * 100_000]):
            pass
        assert 16_000_000 < bus.queued_bytes < 17_000_000
        private_bus.signal(signal.SIGCONT)


async def test_name_of_another_program_is_not_taken(private_bus: PrivateBus) -> None:
    service, rival = Service(), Service()
    async with service.on(private_bus.address), asyncio.TaskGroup() as tasks:
        with pytest.raises(NameTaken, match=NAME):
            async with BusConnection.open(private_bus.address, tasks, NAME, rival.front):
                pass


async def test_name_can_be_claimed_when_all_is_ready(private_bus: PrivateBus) -> None:
    service = Service()
    async with (
        asyncio.TaskGroup() as tasks,
        BusConnection.open(private_bus.address, tasks, front=service.front) as bus,
        client(private_bus.address) as link,
    ):
        with pytest.raises(RemoteError, match="ServiceUnknown"):
            await call(link, "Echo", "s", "too early")
        await bus.claim(NAME)
        assert await call(link, "Echo", "s", "in time") == ("in time",)


async def test_owner_hears_when_another_program_takes_the_name(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as rival:
        await rival.call(request_name(NAME, 2), within=60)
        assert await service.states.get() is BusState.DOWN
        assert await service.states.get() is BusState.REPLACED


async def test_name_that_was_lost_for_a_moment_comes_back(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address):
        async with client(private_bus.address) as rival:
            await rival.call(request_name(NAME, 2), within=60)
        assert await service.states.get() is BusState.DOWN
        assert await service.states.get() is BusState.UP


async def test_bus_that_answers_nobody_fails_the_probe(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address) as bus:
        private_bus.signal(signal.SIGSTOP)
        with pytest.raises(BusGone, match="answers nobody"):
            await bus.probe(within=0.1)
        private_bus.signal(signal.SIGCONT)
        while True:  # the second connection may still have taken the name along: then it is claimed anew
            try:
                await bus.probe(within=60)
                break
            except BusGone:
                assert await service.states.get() is BusState.DOWN
                assert await service.states.get() is BusState.UP
        async with client(private_bus.address) as link:
            assert await call(link, "Echo", "s", "awake") == ("awake",)


async def test_no_bus_is_said_at_once(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(BusGone, match="cannot connect"):
            async with BusConnection.open(f"unix:path={tmp_path}/none", tasks, NAME):
                pass


async def test_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    silent = asyncio.Event()

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_unix_server(ignore, tmp_path / "mute"):
        with pytest.raises(BusGone, match="did not answer"):
            await Link.open(f"unix:path={tmp_path}/mute", Heard(), within=0.1)
        silent.set()
        await asyncio.sleep(0)


async def test_signal_from_the_wrong_sender_is_not_believed(private_bus: PrivateBus) -> None:
    service = Service()
    heard: asyncio.Queue[Signal] = asyncio.Queue()
    async with (
        service.on(private_bus.address) as bus,
        client(private_bus.address) as real,
        client(private_bus.address) as fake,
    ):
        await bus.subscribe(Match("org.example.Source", TEST, "Tick", ROOT), heard.put_nowait)
        await real.call(request_name("org.example.Source"), within=60)
        for link, number in ((fake, 1), (real, 2)):
            await link.send(signal_to(NAME, number))
            await call(link, "Echo", "s", "seen before this")
        assert heard.get_nowait().args == (2, "")
        assert heard.empty()


async def test_properties_signal_as_the_contract_says(private_bus: PrivateBus) -> None:
    service, heard = Service(), Heard()
    async with service.on(private_bus.address) as bus, client(private_bus.address, heard) as link:
        await link.call(add_match("type='signal',member='PropertiesChanged'"), within=60)
        assert not bus.emit_changed(f"{ROOT}/thing/one", THING, {"Name": "const"})
        assert bus.emit_changed(f"{ROOT}/thing/one", THING, {"Name": "const", "Size": 3, "Note": "private"})
        await call(link, "Echo", "s", "after it")
        interface, changed, invalidated = heard.signals[-1].body
        assert (interface, {k: v.value for k, v in changed.items()}, invalidated) == (
            THING,
            {"Size": 3},
            ["Note"],
        )


async def test_wrong_object_path_never_reaches_the_bus(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address) as bus:
        with pytest.raises(ValueError, match="no object path"):
            bus.emit(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved", ["not a path", []])
        await bus.probe(within=60)
