"""polkit, asked who is an operator. It answers no later than its user does, or it has said no."""

import asyncio
import logging
from itertools import count
from weakref import WeakValueDictionary

from dbus_fast import Variant

from musterd.ports import Caller, Grant

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
    """Fulfils `ports.Authority`. Nobody but root is granted anything until `bus` is set."""

    def __init__(self) -> None:
        self.bus: BusConnection | None = None
        self._numbers = count(1)
        self._turns: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()
        self._questions = 0

    async def check(self, caller: Caller, action: str) -> Grant:
        if caller.uid == 0:
            return Grant.YES
        if self.bus is None:
            return Grant.SILENCE
        try:
            return await self._take_turn(self.bus, caller, action)
        except BusError as exc:
            logger.warning("polkit says nothing of '%s' for user %d: %s, refusing", action, caller.uid, exc)
            return Grant.SILENCE

    async def _take_turn(self, bus: BusConnection, caller: Caller, action: str) -> Grant:
        turns = self._turns.setdefault(caller.uid, asyncio.Semaphore(QUESTIONS_PER_USER))
        async with turns:
            if self._questions >= QUESTIONS:
                logger.warning("%d questions to polkit are open, refusing", QUESTIONS)
                return Grant.SILENCE
            self._questions += 1
            try:
                return await self._ask(bus, caller, action)
            finally:
                self._questions -= 1

    async def _ask(self, bus: BusConnection, caller: Caller, action: str) -> Grant:
        """No, too, if who asked has left: polkit need not go on asking its user."""
        has_left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def left(_signal: Signal) -> None:
            has_left.cancel()

        watch = await bus.subscribe(owner_changes(caller.name), left)
        asking = asyncio.create_task(self._question(bus, caller, action))
        has_left.add_done_callback(lambda _: asking.cancel())
        try:
            return await asking
        except asyncio.CancelledError:
            if _is_cancelled_itself():
                raise
            return Grant.NO
        finally:
            bus.unsubscribe(watch)

    async def _question(self, bus: BusConnection, caller: Caller, action: str) -> Grant:
        """First without its user: a polkit that hangs must not get the time of one who types a password."""
        by_rules = await self._call(bus, caller, action, 0, RULES_TIMEOUT)
        if by_rules is not Grant.CHALLENGE or not caller.is_interactive:
            return by_rules
        by_human = await self._call(bus, caller, action, ALLOW_USER_INTERACTION, HUMAN_TIMEOUT)
        return Grant.YES if by_human is Grant.YES else Grant.NO

    async def _call(
        self, bus: BusConnection, caller: Caller, action: str, flags: int, within: float
    ) -> Grant:
        number = f"musterd-{next(self._numbers)}"
        subject = ["system-bus-name", {"name": Variant("s", caller.name)}]
        try:
            reply = await bus.call(
                *(NAME, PATH, AUTHORITY, "CheckAuthorization", "(sa{sv})sa{ss}us"),
                [subject, action, {}, flags, number],
                within=within,
            )
        except (asyncio.CancelledError, CallTimedOut):
            # Nobody waits for that: it may have been answered meanwhile, or polkit hang.
            bus.tell(NAME, PATH, AUTHORITY, "CancelCheckAuthorization", "s", number)
            raise
        is_authorized, is_challenge, _details = reply.body[0]
        if is_authorized:
            return Grant.YES
        return Grant.CHALLENGE if is_challenge else Grant.NO


def _is_cancelled_itself() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
