"""One who talks without pause, at length, or in riddles does not keep others waiting, and ends nothing."""

import asyncio
import os
import struct
from collections import Counter

import pytest
from dbus_fast import Message, MessageType, Variant

from helpers.bus_service import ROOT, TEST, THING, Heard, Service, add_match, call, client, message
from helpers.private_bus import PrivateBus
from musterd.bus import reader
from musterd.bus.errors import BusGone, RemoteError
from musterd.bus.link import Link
from musterd.bus.names import PROPERTIES
from musterd.bus.received import Received, Unreadable

MIB = 1024 * 1024


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
        await link.call(add_match(f"type='signal',interface='{TEST}'"), within=60)
        link.stop_reading()
        for number in range(500):
            bus.emit(ROOT, TEST, "Tick", [number, ""])
        await bus.probe(within=60)  # the bus has passed on what fits into the socket
        turns.next_turn()
        link.go_on_reading()
        await call(link, "Echo", "s", "after all of them")
        turns.handle.cancel()
        assert turns.got.total() == 500
        assert max(turns.got.values()) == 50


def nested(depth: int) -> Variant:
    """An empty list in that many variants."""
    value = Variant("as", [])
    for _ in range(depth - 1):
        value = Variant("v", value)
    return value


async def test_message_that_only_the_bus_can_read_is_the_trouble_of_who_sent_it(
    private_bus: PrivateBus,
) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        async with client(private_bus.address) as hostile:
            with pytest.raises((RemoteError, BusGone)) as caught:  # a dbus-broker sends them away itself
                await call(hostile, "Set", "ssv", THING, "Note", nested(64), interface=PROPERTIES)
        if isinstance(caught.value, RemoteError):
            assert "cannot be read" in caught.value.text
        assert await call(link, "Echo", "s", "still here") == ("still here",)
        assert service.states.empty()


async def test_long_message_is_refused_unread_and_costs_no_memory(private_bus: PrivateBus) -> None:
    async with Service().on(private_bus.address), client(private_bus.address) as link:
        long = link.call(message("Echo", "s", "x" * 8 * MIB, fds=[0, 1]), within=60)
        with pytest.raises(RemoteError, match="8388613 bytes in all, that is too much"):
            await long
        assert await call(link, "Echo", "s", "after it") == ("after it",)


async def test_message_with_an_endless_header_is_none(private_bus: PrivateBus) -> None:
    async with Service().on(private_bus.address), client(private_bus.address) as link:
        link.send(message("Echo", "s", "x", path="/" + "a" * 2 * reader.HEADER, fds=[0]))
        assert await call(link, "Echo", "s", "after it") == ("after it",)


class Generous(Heard):
    def method_called(self, link: Link, message: Message) -> None:
        link.send(Message.new_method_return(message, "s", ["x" * MIB]))


async def test_answer_to_a_question_of_ours_may_be_long(private_bus: PrivateBus) -> None:
    async with client(private_bus.address, Generous()) as other, client(private_bus.address) as link:
        ask = Message(other.unique_name, ROOT, TEST, "Anything")
        assert len((await link.call(ask, within=60)).body[0]) == MIB


async def test_each_fd_stays_with_its_message(private_bus: PrivateBus) -> None:
    async with Service().on(private_bus.address), client(private_bus.address) as link:
        asked = []
        for word in ("one", "two", "three"):
            reading, writing = os.pipe()
            os.write(writing, word.encode())
            os.close(writing)
            asked.append(asyncio.create_task(link.call(message("TakeFd", "h", 0, fds=[reading]), within=60)))
            await asyncio.sleep(0)
            os.close(reading)
        assert [(await one).body for one in asked] == [("one",), ("two",), ("three",)]


def swapped(body: bytes, size: int) -> Received:
    """A signal with one string, from a machine that writes numbers the other way round."""
    fields = b"".join(
        field + bytes(-len(field) % 8)
        for field in (
            b"\x01\x01o\0" + struct.pack(">I", 2) + b"/a\0",
            b"\x02\x01s\0" + struct.pack(">I", 3) + b"a.b\0",
            b"\x03\x01s\0" + struct.pack(">I", 1) + b"c\0",
            b"\x08\x01g\0\x01s\0",
        )
    )
    start = b"B\x04\x00\x01" + struct.pack(">III", size, 7, len(fields) - 1)  # the last one needs no padding
    return Received(start + fields, body, size, [])


def test_message_in_the_other_byte_order_is_read() -> None:
    tick = swapped(struct.pack(">I", 5) + b"hello\0", 10)
    assert tick.message_type is MessageType.SIGNAL
    assert (tick.path, tick.interface, tick.member, tick.serial) == ("/a", "a.b", "c", 7)
    assert (tick.signature, tick.body) == ("s", ["hello"])


def test_message_that_lies_about_its_lengths_is_not_read() -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        _ = swapped(struct.pack(">I", 500) + b"hello\0", 10).body
