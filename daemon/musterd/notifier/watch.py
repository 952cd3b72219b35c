"""musterd, seen from a user of it: its signals, believed only of the owner of its name, and orders to it."""

import logging
from collections.abc import Callable
from typing import Any

from dbus_fast import MessageFlag, Variant

from musterd.bus.connection import BusConnection, BusState
from musterd.bus.errors import BusError, RemoteError
from musterd.bus.names import BUS_NAME, MANAGER, PROPERTIES, REAPER, ROOT, SESSION, STOP_GATE, session_path
from musterd.bus.signals import Match, Signal, Subscription, owner_changes

from .topics import (
    Asked,
    Cancelled,
    Disarmed,
    Event,
    Facts,
    MusterdArrived,
    MusterdLeft,
    Prepare,
    Reaped,
    ReaperChanged,
    Removed,
)

logger = logging.getLogger(__name__)

READ_TIMEOUT = 10.0  # seconds
ORDER_TIMEOUT = 90.0  # an end has its grace and is verified, a resume waits for the agent


class Musterd:
    """`start` before anything else; then `tell` hears what happens."""

    def __init__(self, bus: BusConnection, tell: Callable[[Event], None], uid: int) -> None:
        self._bus = bus
        self._tell = tell
        self._uid = uid
        self._reaper: Subscription | None = None

    async def start(self) -> None:
        self._reaper = await self._bus.subscribe(Match(BUS_NAME, REAPER, path=ROOT), self._reaper_said)
        stops = Match(BUS_NAME, STOP_GATE, "StopEvaluated", ROOT)
        await self._bus.subscribe(stops, self._stop_evaluated)
        changes = Match(BUS_NAME, PROPERTIES, "PropertiesChanged", ROOT, REAPER)
        await self._bus.subscribe(changes, self._properties_changed)
        await self._bus.subscribe(Match(BUS_NAME, MANAGER, "SessionRemoved", ROOT), self._session_removed)
        await self._bus.subscribe(owner_changes(BUS_NAME), self._owner_changed)
        self._bus.listen(self._bus_changed)
        if self._reaper.sender:
            self._tell(MusterdArrived())
        else:
            logger.info("musterd is not on its bus, waiting for it")

    async def facts(self, session_id: str) -> Facts | None:
        """Of a session of this user's; None for those of others. Raises a BusError when nobody answers."""
        try:
            values = await self._properties(SESSION, session_path(session_id))
        except RemoteError as exc:
            logger.debug("Session '%s' is none of ours: %s", session_id, exc)
            return None
        if values.get("UID") != self._uid:
            return None
        return Facts(
            session_id,
            str(values.get("Agent", "")),
            str(values.get("Title", "")),
            str(values.get("CWD", "")),
            int(values.get("Memory", 0)),
            values.get("Resumable") is True,
        )

    async def disarmed(self) -> Disarmed | None:
        """Why the reaper has disabled itself; None while it has not. Raises a BusError."""
        values = await self._properties(REAPER, ROOT)
        return Disarmed(str(values.get("AutoDisabledReason", ""))) if values.get("AutoDisabled") else None

    async def hold(self, session_id: str, why: str) -> int:
        """Keep it from being reaped -> an fd, the caller's: the hold ends with it. Raises a BusError."""
        reply = await self._bus.call(
            BUS_NAME, ROOT, MANAGER, "Inhibit", "sssss",
            ["reap", "musterd-notify", why, "block", session_id],
            within=READ_TIMEOUT, takes_fds=True,
        )  # fmt: skip
        if not reply.fds:
            raise BusError("The bus passes no file descriptors.")
        return reply.fds[0]

    async def terminate(self, session_id: str, why: str) -> None:
        await self._order("TerminateSession", "ss", session_id, why)

    async def resume(self, session_id: str) -> None:
        await self._order("ResumeSession", "s", session_id)

    async def _order(self, member: str, signature: str, *args: object) -> None:
        await self._bus.call(BUS_NAME, ROOT, MANAGER, member, signature, args, within=ORDER_TIMEOUT)

    async def _properties(self, interface: str, path: str) -> dict[str, Any]:
        """Without starting a musterd that does not run: it has nothing to tell."""
        reply = await self._bus.call(
            BUS_NAME, path, PROPERTIES, "GetAll", "s", [interface],
            within=READ_TIMEOUT, flags=MessageFlag.NO_AUTOSTART,
        )  # fmt: skip
        values: dict[str, Variant] = reply.body[0]
        return {name: variant.value for name, variant in values.items()}

    # What musterd and the bus tell

    def _reaper_said(self, signal: Signal) -> None:
        match signal.member, signal.args:
            case "PrepareForReap", (str(session_id), int(deadline)):
                self._tell(Prepare(session_id, deadline))
            case "ReapCancelled", (str(session_id), str(gate)):
                self._tell(Cancelled(session_id, gate))
            case "SessionReaped", (str(session_id), int(freed), bool(is_dry_run)):
                self._tell(Reaped(session_id, freed, is_dry_run))

    def _stop_evaluated(self, signal: Signal) -> None:
        match signal.args:
            case (str(session_id), str(verdict), True):
                self._tell(Asked(session_id, verdict))

    def _session_removed(self, signal: Signal) -> None:
        match signal.args:
            case (str(session_id), _, str(reason)) if reason != "reaped":  # SessionReaped says more
                self._tell(Removed(session_id))

    def _properties_changed(self, signal: Signal) -> None:
        _, changed, invalidated = signal.args
        # Whoever sets the mode arms the reaper again.
        if not {"AutoDisabled", "AutoDisabledReason", "Mode"}.isdisjoint([*changed, *invalidated]):
            self._tell(ReaperChanged())

    def _owner_changed(self, signal: Signal) -> None:
        _, old, new = signal.args
        if old:
            self._tell(MusterdLeft())
        if new:
            self._tell(MusterdArrived())

    def _bus_changed(self, state: BusState, _reason: str) -> None:
        if state is BusState.DOWN:
            self._tell(MusterdLeft())
        elif self._reaper is not None and self._reaper.sender:
            self._tell(MusterdArrived())
