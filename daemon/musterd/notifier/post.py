"""From events to what is shown, and from clicks to orders: each event is taken in its turn."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from musterd.bus.errors import BusError, RemoteError
from musterd.core.units import USEC_PER_SEC

from .holds import Holds
from .inbox import Inbox
from .screen import MORE, REAPER, STOP, Desktop, Screen, Slot
from .stops import Stops
from .surplus import Surplus
from .topics import (
    Action,
    Answer,
    Asked,
    Cancelled,
    Closed,
    DesktopArrived,
    DesktopLeft,
    Disarmed,
    Due,
    Ended,
    Event,
    Facts,
    Held,
    Invoked,
    Kept,
    Lapsed,
    LetGo,
    MusterdArrived,
    MusterdLeft,
    News,
    Prepare,
    Reaped,
    ReaperChanged,
    Refused,
    Removed,
    Resumed,
    Stop,
    Topic,
)

logger = logging.getLogger(__name__)

HOLD_TIME = 3600.0  # seconds that Keep holds a session; the notification says so
WHY_KEPT = "Keep was chosen in its notification"
WHY_ENDED = "End now was chosen in its notification"
CLOSE_TIMEOUT = 2.0  # seconds to take ours away when we stop


class Musterd(Protocol):
    """`watch.Musterd`. All raise a BusError when nobody answers, RemoteError when it refuses."""

    async def facts(self, session_id: str) -> Facts | None:
        """None for a session of another user."""

    async def disarmed(self) -> Disarmed | None:
        """Why the reaper has disabled itself; None while it has not."""

    async def hold(self, session_id: str, why: str) -> int:
        """An fd, the caller's: the session is kept from being reaped as long as it is open."""

    async def terminate(self, session_id: str, why: str) -> None:
        """Returns when it has ended."""

    async def resume(self, session_id: str) -> None:
        """Returns when it is on the roll again."""


class Post:
    """Events in, notifications and orders out. `run` is the only one that changes what is shown."""

    def __init__(
        self,
        inbox: Inbox,
        musterd: Musterd,
        desktop: Desktop,
        *,
        dry_run_too: bool = False,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._inbox = inbox
        self._musterd = musterd
        self._screen = Screen(desktop, now)
        self._dry_run_too = dry_run_too
        self._now = now
        self._holds = Holds()
        self._stops = Stops()
        self._surplus = Surplus(partial(inbox.put, Due()))
        self._is_disarmed = False
        self._orders: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the inbox is closed; what is under way then is finished."""
        while not isinstance(event := await self._inbox.get(), Stop):
            try:
                await self._take(event)
            except BusError as exc:
                logger.warning("Cannot tell of %s: %s, ignoring", type(event).__name__, exc)

    async def close(self) -> None:
        """Take all away: its buttons would do nothing any more."""
        self._surplus.close()
        for order in self._orders:
            order.cancel()
        if self._orders:
            await asyncio.wait(self._orders)
        self._inbox.close()
        self._holds.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for key, _ in self._screen.slots:
                    await self._screen.drop(key)

    async def _take(self, event: Event) -> None:
        match event:
            case Prepare() | Reaped():
                await self._news(event)
            case Asked():
                if news := self._stops.news(event):
                    await self._news(news)
            case Cancelled():
                await self._cancelled(event)
            case Removed():
                await self._removed(event.id)
            case Answer():
                await self._answered(event)
            case Invoked():
                self._obey(event)
            case Closed(number=number):
                self._screen.closed(number)
            case ReaperChanged():
                await self._look_at_reaper()
            case MusterdArrived():
                await self._look_at_reaper()
                await self._renew_holds()
            case MusterdLeft():
                await self._withdraw_threats()
            case DesktopArrived():
                await self._catch_up()
            case DesktopLeft():
                self._screen.forget_numbers()
            case Due():
                await self._sum_up()

    # What musterd says

    async def _news(self, event: News) -> None:
        if isinstance(event, Reaped) and event.is_dry_run and not self._dry_run_too:
            return
        key = f"{STOP}{event.id}" if isinstance(event, Held | LetGo) else event.id
        slot = self._screen.find(key)
        if slot is not None and slot.topic == event and isinstance(event, Prepare | Reaped):
            return
        facts = await self._musterd.facts(event.id) or (slot.facts if slot is not None else None)
        if facts is None:
            return
        if self._surplus.admits():
            await self._screen.show(key, event, facts)
        else:
            await self._screen.drop(key)
            self._surplus.count(event)

    async def _cancelled(self, event: Cancelled) -> None:
        slot = self._screen.find(event.id)
        if slot is None or slot.is_answering or not isinstance(slot.topic, Prepare | Refused):
            return  # a click has its own answer
        if slot.number and not slot.is_gone and self._surplus.admits():
            await self._screen.show(event.id, event, slot.facts)
        else:
            await self._screen.drop(event.id)

    async def _removed(self, session_id: str) -> None:
        """It ended by itself, or by another order: nothing is about to happen to it any more."""
        self._holds.release(session_id)
        self._stops.forget(session_id)
        slot = self._screen.find(session_id)
        if slot is not None and isinstance(slot.topic, Prepare) and not slot.is_answering:
            await self._screen.drop(session_id)

    async def _look_at_reaper(self) -> None:
        before, disarmed = self._is_disarmed, await self._musterd.disarmed()
        self._is_disarmed = disarmed is not None
        if disarmed is None:
            await self._screen.drop(REAPER)
        elif not before:
            await self._screen.show(REAPER, disarmed, Facts(""))

    async def _withdraw_threats(self) -> None:
        """A musterd that comes back begins anew with its two looks."""
        for key, slot in self._screen.slots:
            if isinstance(slot.topic, Prepare) and not slot.is_answering:
                await self._screen.drop(key)

    async def _renew_holds(self) -> None:
        """The daemon that has the other ends of our fds may be gone."""
        for session_id in self._holds.sessions:
            try:
                self._holds.renew(session_id, await self._musterd.hold(session_id, WHY_KEPT))
            except RemoteError as exc:
                self._holds.release(session_id)
                if not exc.name.endswith(".NoSuchSession"):  # what has ended needs no hold
                    slot = self._screen.find(session_id)
                    facts = slot.facts if slot is not None else Facts(session_id)
                    await self._screen.show(session_id, Lapsed(session_id, exc.text), facts)

    # What the user wants

    def _obey(self, click: Invoked) -> None:
        for key, slot in self._screen.clicked(click.number, click.action):
            if not slot.is_answering:
                slot.is_answering = True
                order = asyncio.create_task(self._carry_out(key, click.action), name=f"{click.action} {key}")
                self._orders.add(order)
                order.add_done_callback(self._orders.discard)

    async def _carry_out(self, session_id: str, action: Action) -> None:
        fd = None
        failure = ""
        try:
            match action:
                case Action.KEEP:
                    fd = await self._musterd.hold(session_id, WHY_KEPT)
                case Action.END:
                    await self._musterd.terminate(session_id, WHY_ENDED)
                case Action.RESUME:
                    await self._musterd.resume(session_id)
        except RemoteError as exc:
            failure = exc.text
        except BusError as exc:
            failure = str(exc)
        self._inbox.put(Answer(session_id, action, failure, fd))

    async def _answered(self, answer: Answer) -> None:
        """Always shown, however many there were: somebody waits for it."""
        if answer.fd is not None:
            self._holds.take(answer.id, answer.fd, HOLD_TIME)
        slot = self._screen.find(answer.id)
        if slot is not None and slot.is_answering:
            slot.is_answering = False
        elif answer.action is Action.END and slot is not None and isinstance(slot.topic, Reaped):
            return  # musterd told of the end before it answered, and knows more of it
        facts = slot.facts if slot is not None else Facts(answer.id)
        if answer.action is Action.END and not answer.failure:
            facts = await self._musterd.facts(answer.id) or facts  # it is known now whether it can come back
        await self._screen.show(answer.id, self._outcome(answer, slot), facts)

    def _outcome(self, answer: Answer, slot: Slot | None) -> Topic:
        if answer.failure:
            return Refused(answer.id, answer.action, answer.failure, slot.notice.actions if slot else ())
        match answer.action:
            case Action.KEEP:
                return Kept(answer.id, self._now() + int(HOLD_TIME * USEC_PER_SEC))
            case Action.END:
                return Ended(answer.id)
            case Action.RESUME:
                return Resumed(answer.id)

    # What is on the screen

    async def _catch_up(self) -> None:
        """Show what could not be shown."""
        self._surplus.begin_anew()
        for key, slot in self._screen.slots:
            if slot.number or slot.is_answering:
                continue
            if not isinstance(slot.topic, News) or self._surplus.admits():
                await self._screen.show(key, slot.topic, slot.facts)
            else:
                await self._screen.drop(key)
                self._surplus.count(slot.topic)

    # What is too much

    async def _sum_up(self) -> None:
        await self._screen.show(MORE, self._surplus.sum_up(), Facts(""))
