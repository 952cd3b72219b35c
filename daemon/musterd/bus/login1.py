"""logind, which says before it ends anything that the machine goes down (org.freedesktop.login1(5))."""

import asyncio
import logging
from collections.abc import Callable

from dbus_fast import MessageFlag, Variant

from .connection import BusConnection, BusState
from .errors import BusError
from .names import PROPERTIES
from .signals import Listener, Match, Signal, owner_changes

logger = logging.getLogger(__name__)

NAME = "org.freedesktop.login1"
PATH = "/org/freedesktop/login1"
MANAGER = f"{NAME}.Manager"

TIMEOUT = 5.0  # seconds; it answers at once


class Shutdowns:
    """Tells True when a shutdown or reboot has begun, and False when it was called off."""

    def __init__(self, tell: Callable[[bool], None]) -> None:
        self._tell = tell
        self._told = 0  # signals that came

    async def follow(self, bus: BusConnection) -> None:
        """Until cancelled. While no logind answers on that bus, nothing is told."""
        is_back = asyncio.Event()  # signals may have been missed

        def bus_changed(state: BusState, _reason: str) -> None:
            if state in (BusState.UP, BusState.MOVED):
                is_back.set()

        bus.listen(bus_changed)
        wanted: list[tuple[Match, Listener]] = [
            (owner_changes(NAME), lambda _: is_back.set()),
            (Match(NAME, MANAGER, "PrepareForShutdown", PATH), self._heard),
        ]
        while True:
            try:
                while wanted:
                    await bus.subscribe(*wanted[0])
                    del wanted[0]
                await self._ask(bus)
            except BusError as exc:
                logger.debug("logind does not say whether the machine goes down: %s", exc)
            await is_back.wait()
            is_back.clear()

    def _heard(self, signal: Signal) -> None:
        self._told += 1
        match signal.args:
            case (bool(goes_down),):
                self._tell(goes_down)

    async def _ask(self, bus: BusConnection) -> None:
        """Who was started in the middle of a shutdown has missed the signal."""
        told = self._told
        reply = await bus.call(
            *(NAME, PATH, PROPERTIES, "Get", "ss"),
            [MANAGER, "PreparingForShutdown"],
            within=TIMEOUT,
            flags=MessageFlag.NO_AUTOSTART,  # a machine without logind needs none because of us
        )
        match reply.body:
            case [Variant(value=bool(goes_down))] if told == self._told:  # else the signal is newer
                self._tell(goes_down)
