"""Tells the bus what changed: few signals, small, and nothing private in them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from musterd.core.evidence import Usage
from musterd.core.session import Session, SessionId

from .connection import BusConnection
from .contract import Contract
from .names import MANAGER, OBJECT_MANAGER, REAPER, ROOT, SESSION, STOP_GATE, session_path
from .session_iface import session_values

# Changes within that many seconds go out as one signal for each object.
TICK = 0.1

_NO_USAGE = Usage()


class BusAnnouncer:
    """Fulfils `ports.Announcer`. Silent until `bus` is set."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.bus: BusConnection | None = None
        self.root_values: Callable[[], Mapping[str, Mapping[str, Any]]] = dict  # of each interface
        self.claims_of: Callable[[SessionId], list[str]] = lambda _: []
        self.on_change: Callable[[], None] = lambda: None  # of whatever kind, once a tick
        self._changed: dict[tuple[str, str], dict[str, Any]] = {}  # (path, interface): new values
        self._root_changed: set[tuple[str, str]] = set()  # (interface, property)
        self._tick: asyncio.TimerHandle | None = None

    def session_new(self, session: Session) -> None:
        path = session_path(session.id)
        self._emit(OBJECT_MANAGER, "InterfacesAdded", [path, {SESSION: self._public(session)}])
        self._emit(MANAGER, "SessionNew", [session.id, path])
        self._wake()

    def session_changed(self, before: Session, after: Session) -> None:
        old, new = (session_values(session, None, _NO_USAGE) for session in (before, after))
        changed = {name: value for name, value in new.items() if value != old[name]}
        if changed:
            self._changed.setdefault((session_path(after.id), SESSION), {}).update(changed)
            self._wake()

    def session_removed(self, session: Session, reason: str) -> None:
        path = session_path(session.id)
        self._changed.pop((path, SESSION), None)
        self._emit(OBJECT_MANAGER, "InterfacesRemoved", [path, [SESSION]])
        self._emit(MANAGER, "SessionRemoved", [session.id, path, reason])
        self._wake()

    def manager_changed(self, *names: str) -> None:
        self._root_changed.update((interface, name) for interface in (MANAGER, REAPER) for name in names)
        self._wake()

    def claims_changed(self, session: Session, claims: Sequence[str]) -> None:
        self._changed.setdefault((session_path(session.id), SESSION), {})["Claims"] = list(claims)
        self._wake()

    def gate_changed(self, *names: str) -> None:
        self._root_changed.update((STOP_GATE, name) for name in names)
        self._wake()

    def stop_evaluated(self, session: Session, verdict: str, *, enforced: bool) -> None:
        self._emit(STOP_GATE, "StopEvaluated", [session.id, verdict, enforced])

    def prepare_for_reap(self, session: Session, deadline: int) -> None:
        self._emit(REAPER, "PrepareForReap", [session.id, deadline])

    def reap_cancelled(self, session: Session, gate: str) -> None:
        self._emit(REAPER, "ReapCancelled", [session.id, gate])

    def session_reaped(self, session: Session, freed: int, *, dry_run: bool) -> None:
        self._emit(REAPER, "SessionReaped", [session.id, freed, dry_run])

    def _public(self, session: Session) -> object:
        """What every user of the machine may see: properties whose changes are sent with their values."""
        values = {**session_values(session, None, _NO_USAGE), "Claims": self.claims_of(session.id)}
        return self._contract.interfaces[SESSION].changes(values)[1]

    def _wake(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(TICK, self._flush)

    def _flush(self) -> None:
        self._tick = None
        self.on_change()
        changed, self._changed = self._changed, {}
        roots, self._root_changed = self._root_changed, set()
        if self.bus is None:
            return
        for (path, interface), values in changed.items():
            self.bus.emit_changed(path, interface, values, optional=True)
        for interface, current in (self.root_values() if roots else {}).items():
            new = {name: value for name, value in current.items() if (interface, name) in roots}
            self.bus.emit_changed(ROOT, interface, new)

    def _emit(self, interface: str, member: str, body: list[object]) -> None:
        if self.bus is not None:
            self.bus.emit(ROOT, interface, member, body)

    def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
