"""One connection to the daemon: calls with a time-out, signals in order, bus errors as sentences."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from dbus_fast import Message, MessageFlag, Variant

from musterd.bus.errors import BusGone, CallTimedOut, NoBus, RemoteError
from musterd.bus.link import Link, Reply
from musterd.bus.names import BUS_NAME, MANAGER, PROPERTIES, REAPER, ROOT, STOP_GATE
from musterd.bus.signals import BUS, BUS_PATH, Match, Signal, Subscription, owner_changes
from musterd.together import all_of

from .failure import PASSWORD_REQUIRED, CtlError, NoDaemon, translate

CONNECT_TIMEOUT = 5.0  # seconds
CALL_TIMEOUT = 15.0  # an Explain looks at processes and terminals
HUMAN_TIMEOUT = 130.0  # more, where polkit asks for a password; the daemon waits for two minutes

Properties = Mapping[str, Any]  # by name, plain values: what the XML says their types are


@dataclass(frozen=True, slots=True)
class Where:
    """Which bus: "system", "session" or an address; with a host, on that host."""

    address: str = "system"
    host: str = ""

    def __str__(self) -> str:
        bus = f"bus '{self.address}'" if ":" in self.address else f"the {self.address} bus"
        return f"{bus} of '{self.host}'" if self.host else bus

    @property
    def is_service(self) -> bool:
        """Whether the daemon is a unit of the systemd that is here."""
        return self == Where()

    @property
    def without_bus(self) -> str:
        """What to do where there is no bus."""
        if self.host:
            return "It takes ssh(1), and over there a bus and systemd-stdio-bridge."
        match self.address:
            case "system":
                return "Start it with 'systemctl start dbus', or look elsewhere: --user, --bus, MUSTERD_BUS."
            case "session":
                return "Log in, or use 'dbus-run-session'; or look elsewhere: --system, --bus, MUSTERD_BUS."
        return "Is a bus running there? Or look elsewhere: --system, --user, --bus, MUSTERD_BUS."

    @property
    def without_daemon(self) -> str:
        """What to do where there is a bus."""
        if self.host:
            return f"Start it on '{self.host}', or look elsewhere: --user, --bus."
        match self.address:
            case "system":
                command, other = "systemctl start musterd", "--user"
            case "session":
                command, other = "musterd --user", "--system"
            case address:
                command, other = f"musterd --user --bus {address}", "--system, --user"
        return f"Start it with '{command}', or look elsewhere: {other}, --bus, MUSTERD_BUS."


class Client:
    """Made by `connect`. Every method raises CtlError, NoDaemon among them."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self._link: Link | None = None
        self._subscriptions: list[Subscription] = []
        self._signals: asyncio.Queue[Signal | None] = asyncio.Queue()  # None: the connection ended

    async def call(
        self,
        interface: str,
        member: str,
        signature: str = "",
        *args: object,
        path: str = ROOT,
        ask: bool = False,
        within: float = CALL_TIMEOUT,
    ) -> tuple[Any, ...]:
        """Call a method of the daemon. With `ask`, polkit may ask whoever sits at this terminal."""

        def message(flags: MessageFlag = MessageFlag.NONE) -> Message:
            return Message(
                BUS_NAME, path, interface, member, signature=signature, body=list(args), flags=flags
            )

        try:
            return (await self._send(message(), within=within)).body
        except CtlError as exc:
            if exc.name != PASSWORD_REQUIRED or not (ask and sys.stdin.isatty()):
                raise
        async with self._somebody_to_ask():
            again = message(MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
            return (await self._send(again, within=HUMAN_TIMEOUT + within)).body

    def _somebody_to_ask(self) -> AbstractAsyncContextManager[None]:
        """polkit is asked by the daemon of this machine's system bus only."""
        if self.where != Where():
            return nullcontext()
        from .agent import text_agent  # rarely needed

        return text_agent()

    async def call_for_fd(self, interface: str, member: str, signature: str, *args: object) -> int:
        """Call a method that returns an fd, which the caller owns."""
        message = Message(BUS_NAME, ROOT, interface, member, signature=signature, body=list(args))
        reply = await self._send(message, within=CALL_TIMEOUT, takes_fds=True)
        if not reply.fds:
            raise CtlError("The bus passes no file descriptors.")
        return reply.fds[0]

    async def properties(self, interface: str, path: str = ROOT) -> Properties:
        (values,) = await self.call(PROPERTIES, "GetAll", "s", interface, path=path)
        return {name: plain(value) for name, value in values.items()}

    async def manager(
        self,
        member: str,
        signature: str = "",
        *args: object,
        ask: bool = False,
        within: float = CALL_TIMEOUT,
    ) -> tuple[Any, ...]:
        return await self.call(MANAGER, member, signature, *args, ask=ask, within=within)

    async def reaper(
        self, member: str, signature: str = "", *args: object, ask: bool = False
    ) -> tuple[Any, ...]:
        return await self.call(REAPER, member, signature, *args, ask=ask)

    async def gate(
        self, member: str, signature: str = "", *args: object, ask: bool = False
    ) -> tuple[Any, ...]:
        return await self.call(STOP_GATE, member, signature, *args, ask=ask)

    async def subscribe(self, interface: str) -> None:
        """From now on `signals` yields those of `interface`, and changes of the daemon's owner."""
        for match in (Match(BUS_NAME, interface), owner_changes(BUS_NAME)):
            subscription = Subscription(match, self._signals.put_nowait)
            self._subscriptions.append(subscription)
            await subscription.install(self._bus)

    async def signals(self) -> AsyncIterator[Signal]:
        """In order, until the bus goes."""
        while (signal := await self._signals.get()) is not None:
            yield signal

    async def _bus(self, member: str, signature: str, *args: object) -> tuple[Any, ...]:
        message = Message(BUS, BUS_PATH, BUS, member, signature=signature, body=list(args))
        assert self._link is not None
        return (await self._link.call(message, within=CALL_TIMEOUT)).body

    async def _send(self, message: Message, *, within: float, takes_fds: bool = False) -> Reply:
        assert self._link is not None
        try:
            return await self._link.call(message, within=within, takes_fds=takes_fds)
        except RemoteError as exc:
            raise translate(exc.name, exc.text, self.where.without_daemon) from exc
        except CallTimedOut as exc:
            raise CtlError(
                f"musterd did not answer within {within:g} s.",
                "See 'systemctl status musterd'." if self.where.is_service else "See what it logs.",
                name="TimedOut",
            ) from exc
        except BusGone as exc:
            raise NoDaemon("The connection to the bus ended.") from exc

    # What a link tells us

    def method_called(self, link: Link, message: Message) -> None:
        link.send(Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "No objects here."))

    def signal_received(self, link: Link, message: Message) -> None:
        for subscription in self._subscriptions:
            subscription.deliver(message)

    def link_lost(self, link: Link, reason: str) -> None:
        self._signals.put_nowait(None)

    async def attach(self, address: str) -> None:
        try:
            self._link = await Link.open(address, self, within=CONNECT_TIMEOUT)
        except NoBus as exc:
            # Of another host ssh has said why; the socket to ssh knows nothing.
            why = "" if self.where.host else f": {exc.reason}"
            raise NoDaemon(f"Cannot connect to {self.where}{why}.", self.where.without_bus) from exc

    def detach(self) -> None:
        if self._link is not None:
            self._link.drop()


@asynccontextmanager
async def connect(where: Where) -> AsyncIterator[Client]:
    """A connection to the bus; whether the daemon is there shows with the first call."""
    async with AsyncExitStack() as stack:
        client = Client(where)
        address = where.address
        if where.host:
            from .remote import bridge  # rarely needed

            address = await stack.enter_async_context(bridge(where))
        stack.callback(client.detach)
        await client.attach(address)
        yield client


def plain(value: Any) -> Any:
    """Without variants, at any depth."""
    match value:
        case Variant():
            return plain(value.value)
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value


async def gather(calls: Sequence["partial[Any]"], at_once: int = 16) -> list[Any]:
    """Run calls side by side, but fewer than the daemon takes from one connection (64)."""
    gate = asyncio.Semaphore(at_once)

    async def run(call: "partial[Any]") -> Any:
        async with gate:
            return await call()

    return await all_of(map(run, calls))
