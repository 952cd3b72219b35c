"""History(): what the reaper, or the stop gate, did; as many of its rows as fit into one answer."""

from collections.abc import Callable, Collection, Mapping, Sequence

from dbus_fast import Variant

from musterd.manager import Manager
from musterd.ports import Record

from .call import Call
from .door import Door, fitting
from .manager_iface import NO_UID

ROWS = 500


class History:
    """`more` gives what only this interface tells of a record."""

    def __init__(
        self,
        manager: Manager,
        door: Door,
        kinds: Collection[str],
        more: Callable[[Record], Mapping[str, Variant]] = lambda _: {},
    ) -> None:
        self._manager = manager
        self._door = door
        self._kinds = tuple(kinds)
        self._more = more

    async def answer(self, call: Call) -> Sequence[object]:
        limit = min(call.args[0] or ROWS, ROWS)
        caller = await self._door.caller(call)
        events = await self._manager.history(caller, limit, 0, 0, "", self._kinds)
        return [fitting(self._row(number, record) for number, record in events)]

    def _row(self, number: int, record: Record) -> dict[str, Variant]:
        return {
            "Number": Variant("t", number),
            "TimeUSec": Variant("t", record.at),
            "Kind": Variant("s", record.kind),
            "Session": Variant("s", record.session),
            "UID": Variant("u", record.uid if record.uid >= 0 else NO_UID),
            "Text": Variant("s", record.text),
            **self._more(record),
        }
