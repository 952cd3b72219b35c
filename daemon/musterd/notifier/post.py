"""Decides what is shown: one notification a session, the latest news of it, and not too many at once."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from musterd.bus.errors import BusError, RemoteError
from musterd.core.units import USEC_PER_SEC

from .desktop import NotShown
from .holds import Holds
from .inbox import Inbox
from .pace import Pace
from .stops import Stops
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
    More,
    MusterdArrived,
    MusterdLeft,
    Notice,
    Prepare,
    Reaped,
    ReaperChanged,
    Refused,
    Removed,
    Resumed,
    Stop,
    Topic,
)
from .words import word

logger = logging.getLogger(__name__)

HOLD_TIME = 3600.0  # seconds that Keep holds a session; the notification says so
SUM_UP_PAUSE = 10.0  # seconds between two sums of what was too much
MAX_SLOTS = 64  # notifications that we answer for
WHY_KEPT = "Keep was chosen in its notification"
WHY_ENDED = "End now was chosen in its notification"
CLOSE_TIMEOUT = 2.0  # seconds to take ours away when we stop

# Keys of what is not about one session; no session id looks like them.
REAPER, MORE = "\0reaper", "\0more"
STOP = "\0stop "  # before a session id: what the stop gate does with it replaces nothing else of it

News = Prepare | Reaped | Held | LetGo


class Musterd(Protocol):
    """`watch.Musterd`. All raise a BusError when nobody answers, RemoteError when it refuses."""

    async def facts(self, session_id: str) -> Facts | None: ...

    async def disarmed(self) -> Disarmed | None: ...

    async def hold(self, session_id: str, why: str) -> int: ...

    async def terminate(self, session_id: str, why: str) -> None: ...

    async def resume(self, session_id: str) -> None: ...


class Desktop(Protocol):
    """`desktop.Desktop`."""

    async def show(self, notice: Notice, replaces: int = 0) -> int: ...

    async def close(self, number: int) -> None: ...


@dataclass(slots=True)
class Slot:
    """What is told of one thing."""

    topic: Topic
    facts: Facts
    notice: Notice
    number: int = 0  # on the desktop; 0: not shown yet
    is_gone: bool = False  # from the screen, though a late click may still come
    is_answering: bool = False  # a click is being carried out


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
        self._desktop = desktop
        self._dry_run_too = dry_run_too
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._slots: dict[str, Slot] = {}  # by session id; the latest last
        self._holds = Holds()
        self._stops = Stops()
        self._pace = Pace()
        self._more = More()
        self._due: asyncio.TimerHandle | None = None
        self._summed_up = -SUM_UP_PAUSE  # in the loop's time
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
        if self._due is not None:
            self._due.cancel()
        for order in self._orders:
            order.cancel()
        if self._orders:
            await asyncio.wait(self._orders)
        self._inbox.close()
        self._holds.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for key in tuple(self._slots):
                    await self._drop(key)

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
                for slot in self._slots.values():
                    slot.is_gone = slot.is_gone or slot.number == number
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
                self._forget_numbers()
            case Due():
                await self._sum_up()

    # What musterd says

    async def _news(self, event: News) -> None:
        if isinstance(event, Reaped) and event.is_dry_run and not self._dry_run_too:
            return
        key = f"{STOP}{event.id}" if isinstance(event, Held | LetGo) else event.id
        slot = self._slots.get(key)
        if slot is not None and slot.topic == event and isinstance(event, Prepare | Reaped):
            return
        facts = await self._musterd.facts(event.id) or (slot.facts if slot is not None else None)
        if facts is None:
            return
        if self._admits():
            await self._show(key, event, facts)
        else:
            await self._drop(key)
            self._count(event)

    async def _cancelled(self, event: Cancelled) -> None:
        slot = self._slots.get(event.id)
        if slot is None or slot.is_answering or not isinstance(slot.topic, Prepare | Refused):
            return  # a click has its own answer
        if slot.number and not slot.is_gone and self._admits():
            await self._show(event.id, event, slot.facts)
        else:
            await self._drop(event.id)

    async def _removed(self, session_id: str) -> None:
        """It ended by itself, or by another order: nothing is about to happen to it any more."""
        self._holds.release(session_id)
        self._stops.forget(session_id)
        slot = self._slots.get(session_id)
        if slot is not None and isinstance(slot.topic, Prepare) and not slot.is_answering:
            await self._drop(session_id)

    async def _look_at_reaper(self) -> None:
        before, disarmed = self._is_disarmed, await self._musterd.disarmed()
        self._is_disarmed = disarmed is not None
        if disarmed is None:
            await self._drop(REAPER)
        elif not before:
            await self._show(REAPER, disarmed, Facts(""))

    async def _withdraw_threats(self) -> None:
        """A musterd that comes back begins anew with its two looks."""
        for key, slot in tuple(self._slots.items()):
            if isinstance(slot.topic, Prepare) and not slot.is_answering:
                await self._drop(key)

    async def _renew_holds(self) -> None:
        """The daemon that has the other ends of our fds may be gone."""
        for session_id in self._holds.sessions:
            try:
                self._holds.renew(session_id, await self._musterd.hold(session_id, WHY_KEPT))
            except RemoteError as exc:
                self._holds.release(session_id)
                if not exc.name.endswith(".NoSuchSession"):  # what has ended needs no hold
                    slot = self._slots.get(session_id)
                    facts = slot.facts if slot is not None else Facts(session_id)
                    await self._show(session_id, Lapsed(session_id, exc.text), facts)

    # What the user wants

    def _obey(self, click: Invoked) -> None:
        for key, slot in self._slots.items():
            if slot.number == click.number and click.action in slot.notice.actions and not slot.is_answering:
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
        slot = self._slots.get(answer.id)
        if slot is not None and slot.is_answering:
            slot.is_answering = False
        elif answer.action is Action.END and slot is not None and isinstance(slot.topic, Reaped):
            return  # musterd told of the end before it answered, and knows more of it
        facts = slot.facts if slot is not None else Facts(answer.id)
        if answer.action is Action.END and not answer.failure:
            facts = await self._musterd.facts(answer.id) or facts  # it is known now whether it can come back
        await self._show(answer.id, self._outcome(answer, slot), facts)

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

    async def _show(self, key: str, topic: Topic, facts: Facts) -> None:
        notice = word(topic, facts, self._now())
        if notice is None:
            await self._drop(key)
            return
        before = self._slots.pop(key, None)
        slot = self._slots[key] = Slot(topic, facts, notice)
        with suppress(NotShown):  # then it is shown when there is a service again
            replaces = before.number if before and not before.is_gone else 0
            slot.number = await self._desktop.show(notice, replaces)
        while len(self._slots) > MAX_SLOTS:
            await self._drop(next(key for key in self._slots if key != REAPER))

    async def _drop(self, key: str) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None and slot.number and not slot.is_gone:
            await self._desktop.close(slot.number)

    def _forget_numbers(self) -> None:
        """What was read is not shown again, except for what still needs somebody."""
        for key, slot in tuple(self._slots.items()):
            is_open = isinstance(slot.topic, Prepare | Disarmed) and not slot.is_gone
            if slot.number and not is_open and not slot.is_answering:
                del self._slots[key]
            slot.number = 0

    async def _catch_up(self) -> None:
        """Show what could not be shown; a service that is new has not had too much yet."""
        self._pace = Pace()
        for key, slot in tuple(self._slots.items()):
            if slot.number or slot.is_answering:
                continue
            if not isinstance(slot.topic, News) or self._admits():
                await self._show(key, slot.topic, slot.facts)
            else:
                await self._drop(key)
                self._count(slot.topic)

    # What is too much

    def _admits(self) -> bool:
        if not self._pace.admits(self._loop.time()):
            return False
        if self._due is None:
            self._more = More()  # those were told; what is too much from now on is counted anew
        return True

    def _count(self, event: News) -> None:
        more = self._more
        match event:
            case Held():
                return  # not worth a line
            case LetGo():
                self._more = replace(more, unfinished=more.unfinished + 1)
            case Prepare():
                self._more = replace(more, threatened=more.threatened + 1)
            case Reaped(is_dry_run=True):
                self._more = replace(more, pretended=more.pretended + 1)
            case Reaped():
                self._more = replace(more, ended=more.ended + 1)
        if self._due is None:
            at = max(self._loop.time(), self._summed_up + SUM_UP_PAUSE)
            self._due = self._loop.call_at(at, self._inbox.put, Due())

    async def _sum_up(self) -> None:
        self._due = None
        self._summed_up = self._loop.time()
        await self._show(MORE, self._more, Facts(""))
