"""One who talks without pause does not keep others waiting."""

import asyncio
from collections import Counter

import pytest
from dbus_fast import Message

from helpers.bus_service import ROOT, TEST, Heard, Service, add_match, call, client
from helpers.private_bus import PrivateBus
from musterd.bus import reader
from musterd.bus.link import Link


class Turns(Heard):
    """Counts the signals of each turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.got: Counter[int] = Counter()

    def signal_received(self, _link: Link, message: Message) -> None:
        if message.member == "Tick":
            self.got[self.turn] += 1

    def next_turn(self) -> None:
        self.turn += 1
        self.handle = asyncio.get_running_loop().call_soon(self.next_turn)


async def test_full_socket_is_read_in_portions(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PORTION", 50)
    service, turns = Service(), Turns()
    async with service.on(private_bus.address) as bus, client(private_bus.address, turns) as link:
        await link.call(add_match(f"type='signal',interface='{TEST}'"), within=10)
        link.stop_reading()
        for number in range(500):
            bus.emit(ROOT, TEST, "Tick", [number, ""])
        await bus.probe()  # the bus has passed on what fits into the socket
        turns.next_turn()
        link.go_on_reading()
        await call(link, "Echo", "s", "after all of them")
        turns.handle.cancel()
        assert turns.got.total() == 500
        assert max(turns.got.values()) == 50
