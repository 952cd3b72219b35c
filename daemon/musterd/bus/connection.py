"""The daemon's place on the bus: its name, what comes back after a loss, and the cure for a bus gone deaf.

    async with BusConnection.open("system", tasks, "org.musterd.Muster1", front, on_state=...) as bus:
        await bus.probe()            # from the watchdog round
        bus.emit(path, interface, "SessionNew", [id, path])
        reply = await bus.call(destination, path, interface, member, "s", [unit])

A dbus-daemon stops reading from a service when a client that does not read holds 127 MiB of its
messages; every call then hangs for everybody. `probe` finds that and moves the name to a second
connection, which starts with a clean account. Nothing here runs on a timer while the bus is well.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial
from itertools import chain, repeat

from dbus_fast import Message, MessageFlag, NameFlag

from .contract import Values
from .driver import CLAIM, TAKE_OVER, ask, claim, is_name_lost, tell
from .errors import BusError, BusGone, CallTimedOut, NameTaken, StandardError
from .front import Front
from .link import Link, Reply
from .names import PROPERTIES
from .received import Received
from .signals import Listener, Match, Subscription

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0  # seconds; a busy machine at boot
CALL_TIMEOUT = 25.0  # seconds, as sd-bus and libdbus have it
CLOSE_TIMEOUT = 2.0  # seconds for handlers to notice that we stop
PROBE_TIMEOUT = 5.0  # seconds without an answer to GetId: the bus does not read us any more
BACKOFF = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between attempts to come back; the last repeats
PATIENCE = 1.0  # seconds after which a name that is taken will not be free again (a step of BACKOFF)


class BusState(StrEnum):
    UP = "up"  # connected again, the name is ours; signals were missed meanwhile
    DOWN = "down"  # the connection is gone, trying to come back
    MOVED = "moved"  # the bus was deaf; the name is on a second connection now, queued messages are lost
    REPLACED = "replaced"  # another program has the name; nothing more will come


StateListener = Callable[[BusState, str], None]  # (state, reason)


class BusConnection:
    """Made by `open`. While the bus is down everything raises BusGone, except `emit`, which says False."""

    def __init__(self, address: str, tasks: asyncio.TaskGroup, name: str, front: Front | None) -> None:
        self._address = address
        self._name = name
        self._front = front
        self._tasks = tasks
        self._answers: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self._lost = asyncio.Event()
        self._linking = asyncio.Lock()  # one attempt at a time: a second would find the name taken
        self._is_moving = False
        self._is_closing = False
        self._subscriptions: list[Subscription] = []
        self._listeners: list[StateListener] = []

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        address: str,
        tasks: asyncio.TaskGroup,
        name: str = "",
        front: Front | None = None,
        *,
        on_state: StateListener | None = None,
    ) -> AsyncIterator["BusConnection"]:
        """Connect and claim `name`, if there is one; see claim(). Raises BusGone, CallTimedOut, NameTaken.

        `address` is "system", "session" or a D-Bus address; `tasks` runs what this needs. Calls that still
        run when the block is left are told that we stop.
        """
        bus = cls(address, tasks, name, front)
        if on_state is not None:
            bus.listen(on_state)
        bus._link = await bus._establish(CLAIM)
        keeper = tasks.create_task(bus._keep(), name="come back after a loss of the bus")
        try:
            yield bus
        finally:
            keeper.cancel()
            await bus._close()

    @property
    def unique_name(self) -> str:
        """Ours on the bus; empty while it is down."""
        return self._link.unique_name if self._link else ""

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent because the bus does not read."""
        return self._link.queued_bytes if self._link else 0

    def listen(self, listener: StateListener) -> None:
        self._listeners.append(listener)

    async def claim(self, name: str) -> None:
        """Take `name` now, when what answers is ready, and again after each loss. Raises NameTaken."""
        await claim(self._current(), name, CLAIM)
        self._name = name

    async def probe(self, within: float = PROBE_TIMEOUT) -> None:
        """Return if the bus answers, if need be on a second connection; else raises a BusError.

        Takes at most twice `within` seconds.
        """
        async with self._linking:
            link = self._current()
            try:
                await ask(link, "GetId", within=within)
            except CallTimedOut:
                await self._move(link, within)

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
        *,
        within: float = CALL_TIMEOUT,
        fds: Sequence[int] = (),
        takes_fds: bool = False,
        flags: MessageFlag = MessageFlag.NONE,
    ) -> Reply:
        """Call another program's method. Raises RemoteError, CallTimedOut, BusGone.

        `fds` go with the call and stay the caller's. Fds of the reply are closed unless `takes_fds`.
        """
        message = Message(destination, path, interface, member, signature=signature, body=list(body))
        message.unix_fds, message.flags = list(fds), flags
        return await self._current().call(message, within=within, takes_fds=takes_fds)

    def tell(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: object
    ) -> None:
        """Call another program's method without waiting for an answer, if the bus is there."""
        message = Message(destination, path, interface, member, signature=signature, body=list(body))
        message.flags = MessageFlag.NO_REPLY_EXPECTED
        if self._link is not None:
            self._link.send(message)

    def emit(
        self, path: str, interface: str, member: str, body: Sequence[object], *, optional: bool = False
    ) -> bool:
        """Send a signal of the contract; True if it will be sent.

        Nothing is sent while the bus is down or our queue full, an `optional` one not when the queue grows.
        """
        assert self._front is not None
        signature = self._front.contract.interfaces[interface].signals[member].signature
        limits = self._front.limits
        if self._link is None or self._link.queued_bytes > (
            limits.queue_high if optional else limits.queue_full
        ):
            return False
        message = Message.new_signal(path, interface, member, signature, list(body))
        self._link.send(message, limit=limits.reply)
        return True

    def emit_changed(self, path: str, interface: str, values: Values, *, optional: bool = False) -> bool:
        """Send PropertiesChanged for new values, as far as the contract lets them signal."""
        assert self._front is not None
        body = self._front.contract.interfaces[interface].changes(values)
        return (body[1:] != [{}, []]) and self.emit(
            path, PROPERTIES, "PropertiesChanged", body, optional=optional
        )

    async def subscribe(self, match: Match, listener: Listener) -> Subscription:
        """Hear signals; returns when the bus knows, and lasts over reconnects. Raises a BusError."""
        subscription = Subscription(match, listener)
        self._subscriptions.append(subscription)
        if self._link is not None:
            try:
                await subscription.install(partial(ask, self._link))
            except BaseException:
                self._subscriptions.remove(subscription)
                raise
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)
        if self._link is not None:
            for rule in subscription.rules:
                tell(self._link, "RemoveMatch", "s", rule)

    def method_called(self, link: Link, message: Received) -> None:
        if self._front is None or self._is_closing:
            link.send(Message.new_error(message, StandardError.UNKNOWN_OBJECT, "Nothing is served here."))
        elif (answer := self._front.accept(link, message)) is not None:
            task = self._tasks.create_task(answer)
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    def signal_received(self, link: Link, message: Received) -> None:
        if is_name_lost(message, self._name) and link is self._link and not self._is_moving:
            # Another program took it, or a connection we gave up before the bus heard it: see which.
            link.drop()
        for subscription in tuple(self._subscriptions):
            subscription.deliver(message)

    def link_lost(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._link = None
            self._lost.set()
            self._tell(BusState.DOWN, reason)

    async def _keep(self) -> None:
        """Until another program has the name for good."""
        try:
            while True:
                await self._lost.wait()
                self._lost.clear()
                await self._come_back()
        except NameTaken as exc:
            self._tell(BusState.REPLACED, str(exc))

    async def _come_back(self) -> None:
        """However long it takes. Raises NameTaken if it still is when ours should be free again."""
        for delay in chain(BACKOFF, repeat(BACKOFF[-1])):
            await asyncio.sleep(delay)
            try:
                await self._try_again()
            except BusError as exc:
                if isinstance(exc, NameTaken) and delay >= PATIENCE:
                    raise
                logger.debug("Still no bus: %s", exc)
            else:
                return

    async def _try_again(self) -> None:
        async with self._linking:
            if self._link is None:  # else a probe that was under way has found the cure
                self._link = await self._establish(CLAIM)
                self._tell(BusState.UP, f"connected again as '{self._link.unique_name}'")

    async def _move(self, deaf: Link, within: float) -> None:
        self._is_moving = True
        try:
            async with asyncio.timeout(within):
                self._link = await self._establish(TAKE_OVER)
        except TimeoutError as exc:
            raise BusGone("the bus answers nobody") from exc
        finally:
            self._is_moving = False
        deaf.drop()
        self._tell(BusState.MOVED, f"the bus stopped reading '{deaf.unique_name}'")

    async def _establish(self, flags: NameFlag) -> Link:
        """A new link that hears all subscriptions and has the name."""
        link = await Link.open(self._address, self, within=CONNECT_TIMEOUT)
        try:
            for subscription in tuple(self._subscriptions):
                await subscription.install(partial(ask, link))
            if self._name:
                await claim(link, self._name, flags)
        except BaseException:
            link.drop()
            raise
        if not link.is_open:
            raise BusGone("the new connection was closed at once")
        return link

    async def _close(self) -> None:
        self._is_closing = True
        for task in self._answers:
            task.cancel()
        if self._answers:
            await asyncio.wait(self._answers, timeout=CLOSE_TIMEOUT)
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _current(self) -> Link:
        if self._link is None:
            raise BusGone("the bus is down")
        return self._link

    def _tell(self, state: BusState, reason: str) -> None:
        for listener in self._listeners:
            listener(state, reason)
