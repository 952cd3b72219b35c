"""A small service on the transport, and plain clients of it."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageType

from musterd.bus.call import Call
from musterd.bus.connection import BusConnection, BusState
from musterd.bus.contract import Contract, Values
from musterd.bus.front import Front
from musterd.bus.limits import KIB, Limits
from musterd.bus.link import Link
from musterd.bus.names import OBJECT_MANAGER
from musterd.bus.signals import BUS, BUS_PATH
from musterd.core import errors

NAME = "org.example.Test1"
ROOT = "/org/example/Test1"
TEST = "org.example.Test"
THING = "org.example.Thing"
CONTRACT = Path(__file__).parents[1] / "bus" / "contract.xml"


class Things:
    """`Objects` with things below the root. A secret one exists only for `friend`."""

    def __init__(self) -> None:
        self.names = ["one", "two", "secret"]
        self.notes: dict[str, str] = {}
        self.friend = ""

    async def interfaces(self, call: Call, path: str) -> Collection[str]:
        if path == ROOT:
            return (TEST, OBJECT_MANAGER)
        return (THING,) if path in await self.paths(call) else ()

    async def paths(self, call: Call) -> Collection[str]:
        names = [name for name in self.names if name != "secret" or call.sender == self.friend]
        return [ROOT, *(f"{ROOT}/thing/{name}" for name in names)]

    async def properties(self, _call: Call, path: str) -> Values:
        name = path.rsplit("/", 1)[1]
        return {"Name": name, "Size": len(name), "Note": self.notes.get(name, "")}

    async def set_property(self, call: Call, name: str, value: object) -> None:
        assert name == "Note"
        self.notes[call.path.rsplit("/", 1)[1]] = str(value)


class Service:
    """Handlers that do what the test tells them, and write down what happened."""

    def __init__(self) -> None:
        self.things = Things()
        self.release = asyncio.Event()  # lets Hold, Blob and EchoLong answer
        self.release.set()
        self.held: asyncio.Queue[Call] = asyncio.Queue()  # what came to those
        self.pipes: list[int] = []  # our ends of what GiveFd gave
        limits = Limits(long_strings={(TEST, "EchoLong"): 256 * KIB})
        self.front = Front(Contract([CONTRACT.read_text()]), self.things, limits)
        names = "Echo EchoLong EchoDict Blob Hold Raise Wrong GiveFd TakeFd WhoAmI"
        self.front.register(TEST, {name: getattr(self, name) for name in names.split()})
        self.front.properties(THING, self.things.properties, self.things.set_property)
        self.front.check()
        self.states: asyncio.Queue[BusState] = asyncio.Queue()

    def note_state(self, state: BusState, _reason: str) -> None:
        self.states.put_nowait(state)

    @asynccontextmanager
    async def on(self, address: str) -> AsyncIterator[BusConnection]:
        try:
            async with (
                asyncio.TaskGroup() as tasks,
                BusConnection.open(address, tasks, NAME, self.front, on_state=self.note_state) as bus,
            ):
                yield bus
        finally:
            for fd in self.pipes:
                os.close(fd)

    async def Echo(self, call: Call) -> Sequence[object]:  # noqa: N802
        return call.args

    async def EchoLong(self, call: Call) -> Sequence[object]:  # noqa: N802
        self.held.put_nowait(call)
        await self.release.wait()
        return [len(call.args[0])]

    async def EchoDict(self, _call: Call) -> None:  # noqa: N802
        return None

    async def Blob(self, call: Call) -> Sequence[object]:  # noqa: N802
        self.held.put_nowait(call)
        await self.release.wait()
        return ["x" * call.args[0]]

    async def Hold(self, call: Call) -> None:  # noqa: N802
        self.held.put_nowait(call)
        await self.release.wait()

    async def Raise(self, call: Call) -> None:  # noqa: N802
        what = call.args[0]
        if what == "KeyError":
            raise KeyError("/secret/path")
        raise getattr(errors, what)("It was refused.")

    async def Wrong(self, _call: Call) -> Sequence[object]:  # noqa: N802
        return ["not a number"]

    async def GiveFd(self, _call: Call) -> Sequence[object]:  # noqa: N802
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self.pipes.append(ours)
        return [theirs]

    async def TakeFd(self, call: Call) -> Sequence[object]:  # noqa: N802
        return [os.read(call.args[0], 100).decode()]

    async def WhoAmI(self, call: Call) -> Sequence[object]:  # noqa: N802
        await asyncio.sleep(0)
        return [call.sender]


@dataclass
class Heard:
    """A receiver that only writes down."""

    signals: list[Message] = field(default_factory=list)

    def method_called(self, link: Link, message: Message) -> None:
        raise AssertionError(message)

    def signal_received(self, _link: Link, message: Message) -> None:
        self.signals.append(message)

    def link_lost(self, _link: Link, _reason: str) -> None:
        return


class Client(Link):
    """A link that can stop reading, as a program under Ctrl-Z does."""

    def stop_reading(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)

    @property
    def _fd(self) -> int:
        assert self._bus._fd is not None
        return self._bus._fd

    def go_on_reading(self) -> None:
        asyncio.get_running_loop().add_reader(self._fd, self._read)


@asynccontextmanager
async def client(address: str, heard: Heard | None = None) -> AsyncIterator[Client]:
    link = await Client.open(address, heard or Heard(), within=60)
    try:
        yield link
    finally:
        link.drop()


def message(
    member: str,
    signature: str = "",
    *args: object,
    path: str = ROOT,
    interface: str = TEST,
    fds: Sequence[int] = (),
) -> Message:
    return Message(
        NAME,
        path,
        interface,
        member,
        MessageType.METHOD_CALL,
        signature=signature,
        body=list(args),
        unix_fds=list(fds),
    )


async def call(
    link: Link, member: str, signature: str = "", *args: object, path: str = ROOT, interface: str = TEST
) -> tuple[Any, ...]:
    question = message(member, signature, *args, path=path, interface=interface)
    return (await link.call(question, within=60)).body


async def hang_up(pipe: int) -> None:
    """Return when nobody, nor the bus, holds the writing end of a pipe any more."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pipe, ended.set)
    await ended.wait()
    loop.remove_reader(pipe)
    assert os.read(pipe, 1) == b""


def signal_to(destination: str, number: int, fds: Sequence[int] = ()) -> Message:
    """A Tick straight to one program, as anybody may send it."""
    tick = Message.new_signal(ROOT, TEST, "Tick", "us", [number, ""], list(fds))
    tick.destination = destination
    return tick


def request_name(name: str, flags: int = 0) -> Message:
    return Message(BUS, BUS_PATH, BUS, "RequestName", signature="su", body=[name, flags])


def add_match(rule: str) -> Message:
    return Message(BUS, BUS_PATH, BUS, "AddMatch", signature="s", body=[rule])
