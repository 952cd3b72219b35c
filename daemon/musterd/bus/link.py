"""One connection to a bus, made safe: calls that end, fds that are closed, a send queue that waits.

A Link lives as long as its socket. What comes back after a loss is `connection.BusConnection`'s affair.
"""

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, InvalidAddressError

from musterd.core.errors import reason

from .errors import BusGone, CallTimedOut, NoBus, RemoteError
from .reader import install_reader
from .received import Received, Unreadable
from .writer import Writer, close_fds, install_writer

logger = logging.getLogger(__name__)

INCONSISTENT = "org.freedesktop.DBus.Error.InconsistentMessage"  # as libdbus says it

FLUSH_TIMEOUT = 2.0  # seconds for the last answers to leave when we stop


@dataclass(frozen=True, slots=True)
class Reply:
    """What a method returned. The caller owns `fds`; values of type `h` are indexes into it."""

    body: tuple[Any, ...]  # of the types in the other side's signature: the library knows no more
    fds: tuple[int, ...] = ()


class Receiver(Protocol):
    """Who gets what a link receives. What is left in a message's `unix_fds` on return is closed."""

    def method_called(self, link: "Link", message: Received) -> None: ...

    def signal_received(self, link: "Link", message: Received) -> None: ...

    def link_lost(self, link: "Link", reason: str) -> None:
        """Once; nothing comes over it any more."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    reply: asyncio.Future[Reply]
    takes_fds: bool


class Link:
    """A connected bus. `unique_name` is ours on it."""

    def __init__(self, bus: MessageBus, receiver: Receiver) -> None:
        assert bus.unique_name is not None
        self.unique_name: str = bus.unique_name
        self._bus = bus
        self._receiver = receiver
        self._writer: Writer = install_writer(bus)
        self._waiting: dict[int, _Waiting] = {}  # by the serial of the call
        self._read = install_reader(bus, self._receive)
        bus._disconnect_future.add_done_callback(self._lost)

    @classmethod
    async def open(cls, address: str, receiver: Receiver, *, within: float) -> Self:
        """Connect to `address`: "system", "session" or a D-Bus address. Raises NoBus."""
        try:
            async with asyncio.timeout(within):
                bus = await MessageBus(*_resolve(address), negotiate_unix_fd=True).connect()
        except TimeoutError as exc:
            raise _no_bus(address, f"it did not answer within {within:g} s") from exc
        except EOFError as exc:
            raise _no_bus(address, "it closed the connection") from exc
        except (OSError, AuthError, InvalidAddressError) as exc:
            raise _no_bus(address, reason(exc)) from exc
        return cls(bus, receiver)

    @property
    def is_open(self) -> bool:
        return bool(self._bus.connected)

    @property
    def queued_bytes(self) -> int:
        return self._writer.queued_bytes

    def send(self, message: Message, *, limit: int | None = None) -> asyncio.Future[None]:
        """Queue a message; see Writer.send()."""
        return self._writer.send(message, limit=limit)

    async def call(self, message: Message, *, within: float, takes_fds: bool = False) -> Reply:
        """Send a method call and wait for its answer. Raises RemoteError, CallTimedOut, BusGone."""
        if not self.is_open:
            raise BusGone("the connection to the bus is closed")
        message.serial = self._bus.next_serial()
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[message.serial] = _Waiting(reply, takes_fds)
        try:
            self._writer.send(message)
            async with asyncio.timeout(within):
                return await reply
        except TimeoutError as exc:
            _discard(reply)
            what = f"{message.interface}.{message.member}"
            raise CallTimedOut(f"'{message.destination}' did not answer {what} within {within:g} s") from exc
        except asyncio.CancelledError:
            _discard(reply)
            raise
        finally:
            self._waiting.pop(message.serial, None)

    async def close(self) -> None:
        """Let what is queued leave, then end the connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await self.drain()
        self.drop()

    async def drain(self) -> None:
        """Return when all that is queued now has left, or will not any more."""
        await self._writer.drain()

    def drop(self) -> None:
        """End the connection at once; the receiver hears of it in the next turn of the loop."""
        self._bus._finalize(None)  # disconnect() would wait for the reader

    def _receive(self, message: Received) -> None:
        try:
            match message.message_type:
                case MessageType.METHOD_CALL:
                    self._receiver.method_called(self, message)
                case MessageType.SIGNAL:
                    self._receiver.signal_received(self, message)
                case _:
                    self._settle(message)
        except Unreadable as exc:  # anybody can send such a thing, as often as they like
            logger.debug("A message from '%s' is not read: %s, ignoring", message.sender, exc)
        except Exception:
            logger.exception("Cannot take a message from '%s', ignoring", message.sender)
        finally:
            # Anybody may attach fds to anything; what nobody took is closed, or any user could exhaust ours.
            close_fds(message.unix_fds)
            message.unix_fds = []

    def _settle(self, message: Received) -> None:
        waiting = self._waiting.pop(message.reply_serial, None)
        if waiting is None or waiting.reply.done():
            return
        try:
            body = tuple(message.body)
        except Unreadable as exc:
            _fail(waiting.reply, RemoteError(INCONSISTENT, str(exc)))
            return
        if message.message_type is MessageType.ERROR:
            text = body[0] if body and isinstance(body[0], str) else "no text"
            _fail(waiting.reply, RemoteError(message.error_name or "?", text))
            return
        fds: tuple[int, ...] = ()
        if waiting.takes_fds:
            fds, message.unix_fds = tuple(message.unix_fds), []
        waiting.reply.set_result(Reply(body, fds))

    def _lost(self, ended: asyncio.Future[None]) -> None:
        exc = None if ended.cancelled() else ended.exception()
        reason = (
            f"the bus closed the connection ({type(exc).__name__})" if exc else "we closed the connection"
        )
        self._writer.close(reason)
        for waiting in self._waiting.values():
            _fail(waiting.reply, BusGone(reason))
        self._receiver.link_lost(self, reason)


def _fail(reply: asyncio.Future[Reply], exc: Exception) -> None:
    if not reply.done():
        reply.set_exception(exc)
        reply.exception()  # whoever waited may have given up: then nobody needs to know


def _discard(reply: asyncio.Future[Reply]) -> None:
    """Close the fds of an answer that came too late to be used."""
    if reply.done() and not reply.cancelled() and reply.exception() is None:
        close_fds(reply.result().fds)


def _no_bus(address: str, why: str) -> NoBus:
    """With what to do: the address was one of the program's options, or stands for one."""
    match address:
        case "system":
            return NoBus("the system bus", why, "'systemctl start dbus' starts it, or name another")
        case "session":
            place = f"the session bus at '{_resolve(address)[0]}'"
            return NoBus(place, why, "'dbus-run-session' starts one, or name another")
    return NoBus(f"bus '{address}'", why, "is that the address of one that runs?")


def _resolve(address: str) -> tuple[str | None, BusType]:
    if address == "system":
        return None, BusType.SYSTEM
    if address != "session":
        return address, BusType.SESSION
    # The library's own search ends at X11; every systemd user session has this socket (pam_systemd(8)).
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return os.environ.get("DBUS_SESSION_BUS_ADDRESS", f"unix:path={runtime}/bus"), BusType.SESSION
