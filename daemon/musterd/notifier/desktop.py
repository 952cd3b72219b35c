"""The desktop's notification service (Desktop Notifications Specification 1.2), whichever it is.

Only the owner of its name is believed: an ActionInvoked of anybody else is not heard.
"""

import logging
from collections.abc import Callable
from html import escape

from dbus_fast import MessageFlag, Variant

from musterd.bus.connection import BusConnection, BusState
from musterd.bus.errors import BusError, RemoteError
from musterd.bus.signals import BUS, BUS_PATH, Match, Signal, owner_changes

from .topics import Action, Closed, DesktopArrived, DesktopLeft, Event, Invoked, Notice
from .words import LABELS

logger = logging.getLogger(__name__)

NAME = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"

CALL_TIMEOUT = 10.0  # seconds; the bus may have to start the service first
DESKTOP_ENTRY = "musterd-notify"


class NotShown(Exception):
    """There is no notification service, or it did not take this one."""


class Desktop:
    """`start` before anything else; then `tell` hears what happens to what is shown."""

    def __init__(self, bus: BusConnection, tell: Callable[[Event], None]) -> None:
        self._bus = bus
        self._tell = tell
        self._capabilities: frozenset[str] | None = None  # None: not asked since the service changed
        self._has_complained = False

    async def start(self) -> None:
        for member, listener in (("ActionInvoked", self._invoked), ("NotificationClosed", self._closed)):
            await self._bus.subscribe(Match(NAME, NAME, member, PATH), listener)
        await self._bus.subscribe(owner_changes(NAME), self._owner_changed)
        self._bus.listen(self._bus_changed)
        if not await self._is_there():
            self._complain("none is running")

    async def show(self, notice: Notice, replaces: int = 0) -> int:
        """Show it -> its number, with which it can be replaced. Raises NotShown."""
        try:
            capabilities = await self._ask_capabilities()
            (number,) = await self._call(
                "Notify",
                "susssasa{sv}i",
                "musterd",
                replaces,
                "",  # the icon is that of the desktop entry
                *_texts(notice, capabilities),
                _actions(notice) if "actions" in capabilities else [],
                {"urgency": Variant("y", notice.urgency), "desktop-entry": Variant("s", DESKTOP_ENTRY)},
                notice.expires,
            )
        except BusError as exc:
            self._complain(str(exc))
            raise NotShown(str(exc)) from exc
        if not isinstance(number, int) or number <= 0:
            raise NotShown(f"the notification service answered {number!r}, which is no number of one")
        return number

    async def close(self, number: int) -> None:
        """Take it away; that it is gone already is just what we want."""
        try:
            await self._call("CloseNotification", "u", number, flags=MessageFlag.NO_AUTOSTART)
        except BusError as exc:
            logger.debug("Notification %d was not closed: %s", number, exc)

    async def _ask_capabilities(self) -> frozenset[str]:
        if self._capabilities is None:
            (words,) = await self._call("GetCapabilities")
            self._capabilities = frozenset(map(str, words)) if isinstance(words, list) else frozenset()
            self._has_complained = False
        return self._capabilities

    async def _call(
        self, member: str, signature: str = "", *args: object, flags: MessageFlag = MessageFlag.NONE
    ) -> tuple[object, ...]:
        reply = await self._bus.call(
            NAME, PATH, NAME, member, signature, args, within=CALL_TIMEOUT, flags=flags
        )
        return reply.body or (None,)

    async def _is_there(self) -> bool:
        """Running, or started by the bus when it is called."""
        try:
            await self._bus.call(BUS, BUS_PATH, BUS, "GetNameOwner", "s", [NAME], within=CALL_TIMEOUT)
        except RemoteError:
            reply = await self._bus.call(BUS, BUS_PATH, BUS, "ListActivatableNames", within=CALL_TIMEOUT)
            return NAME in reply.body[0]
        return True

    def _complain(self, why: str) -> None:
        if not self._has_complained:
            logger.warning("No notification service takes what there is to show, waiting for one: %s", why)
        self._has_complained = True

    # What the service and the bus tell

    def _invoked(self, signal: Signal) -> None:
        match signal.args:
            case (int(number), str(key)) if key in {action.value for action in Action}:
                self._tell(Invoked(number, Action(key)))

    def _closed(self, signal: Signal) -> None:
        match signal.args:
            case (int(number), *_):
                self._tell(Closed(number))

    def _owner_changed(self, signal: Signal) -> None:
        _, old, new = signal.args
        self._forget(is_there=bool(new), was_there=bool(old))

    def _bus_changed(self, state: BusState, _reason: str) -> None:
        if state is BusState.DOWN:
            self._forget(is_there=False)
        elif state is BusState.UP:
            self._forget(is_there=True)

    def _forget(self, *, is_there: bool, was_there: bool = True) -> None:
        """Its numbers mean nothing to the next one, which may be able to do other things."""
        self._capabilities = None
        if was_there:
            self._tell(DesktopLeft())
        if is_there:
            self._tell(DesktopArrived())


def _texts(notice: Notice, capabilities: frozenset[str]) -> tuple[str, str]:
    """Summary, which never has markup, and body."""
    if "body" not in capabilities:
        return notice.summary, ""
    is_markup = "body-markup" in capabilities
    return notice.summary, escape(notice.body, quote=False) if is_markup else notice.body


def _actions(notice: Notice) -> list[str]:
    return [text for action in notice.actions for text in (action.value, LABELS[action])]
