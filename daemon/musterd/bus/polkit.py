"""polkit, asked who is an operator. It answers no later than its user does, or it has said no."""

import asyncio
import logging
from itertools import count
from weakref import WeakValueDictionary

from dbus_fast import Variant

from musterd.ports import Caller

from .connection import BusConnection
from .errors import BusError, CallTimedOut
from .signals import Signal, owner_changes

logger = logging.getLogger(__name__)

NAME = "org.freedesktop.PolicyKit1"
AUTHORITY = f"{NAME}.Authority"
PATH = "/org/freedesktop/PolicyKit1/Authority"

ALLOW_USER_INTERACTION = 1

# Seconds. Without a question to its user polkit decides from its rules; with one, somebody types a password.
RULES_TIMEOUT = 5.0
HUMAN_TIMEOUT = 120.0

# Questions under way. Each is a match rule and an answer that we wait for, of which a system's dbus-daemon
# grants us 512 and 128; and a user's own agent may leave them open for as long as it likes.
QUESTIONS = 96
QUESTIONS_PER_USER = 4  # more have to wait


class Polkit:
    """Fulfils `ports.Authority`. Nobody but root is allowed anything until `bus` is set."""

    def __init__(self) -> None:
        self.bus: BusConnection | None = None
        self._numbers = count(1)
        self._turns: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()
        self._questions = 0

    async def allows(self, caller: Caller, action: str) -> bool:
        if caller.uid == 0:
            return True
        if self.bus is None:
            return False
        try:
            return await self._take_turn(self.bus, caller, action)
        except BusError as exc:
            logger.warning("polkit says nothing of '%s' for user %d: %s, refusing", action, caller.uid, exc)
            return False

    async def _take_turn(self, bus: BusConnection, caller: Caller, action: str) -> bool:
        turns = self._turns.setdefault(caller.uid, asyncio.Semaphore(QUESTIONS_PER_USER))
        async with turns:
            if self._questions >= QUESTIONS:
                logger.warning("%d questions to polkit are open, refusing", QUESTIONS)
                return False
            self._questions += 1
            try:
                return await self._ask(bus, caller, action)
            finally:
                self._questions -= 1

    async def _ask(self, bus: BusConnection, caller: Caller, action: str) -> bool:
        """False, too, if who asked has left: polkit need not go on asking its user."""
        has_left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def left(_signal: Signal) -> None:
            has_left.cancel()

        watch = await bus.subscribe(owner_changes(caller.name), left)
        asking = asyncio.create_task(self._check(bus, caller, action))
        has_left.add_done_callback(lambda _: asking.cancel())
        try:
            return await asking
        except asyncio.CancelledError:
            if _is_cancelled_itself():
                raise
            return False
        finally:
            bus.unsubscribe(watch)

    async def _check(self, bus: BusConnection, caller: Caller, action: str) -> bool:
        number = f"musterd-{next(self._numbers)}"
        subject = ["system-bus-name", {"name": Variant("s", caller.name)}]
        flags = ALLOW_USER_INTERACTION if caller.is_interactive else 0
        try:
            reply = await bus.call(
                *(NAME, PATH, AUTHORITY, "CheckAuthorization", "(sa{sv})sa{ss}us"),
                [subject, action, {}, flags, number],
                within=HUMAN_TIMEOUT if caller.is_interactive else RULES_TIMEOUT,
            )
        except (asyncio.CancelledError, CallTimedOut):
            await self._cancel(bus, number)
            raise
        is_authorized, _is_challenge, _details = reply.body[0]
        return is_authorized is True

    async def _cancel(self, bus: BusConnection, number: str) -> None:
        """Of no importance any more: it may have been answered, or polkit be gone."""
        try:
            await bus.call(
                NAME, PATH, AUTHORITY, "CancelCheckAuthorization", "s", [number], within=RULES_TIMEOUT
            )
        except BusError as exc:
            logger.debug("Check %s cannot be cancelled: %s", number, exc)


def _is_cancelled_itself() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
