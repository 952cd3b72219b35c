"""What the interface classes share: who calls, which objects there are, lists that fit into an answer."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from dbus_fast import Variant

from musterd.core.session import Session
from musterd.manager import Manager
from musterd.ports import Caller

from .call import Call
from .caller import Callers
from .errors import CallerGone
from .names import (
    LOG_CONTROL,
    LOG_CONTROL_PATH,
    MANAGER,
    OBJECT_MANAGER,
    REAPER,
    ROOT,
    SESSION,
    STOP_GATE,
    WARDENS,
    session_id_of,
    session_path,
)

T = TypeVar("T")

# A list answer stays below the limit of a reply, with room for the frame around it.
LIST_BYTES = 240 * 1024
ROWS = 1000


class Door:
    """Asks the bus who calls; shows each caller the objects it may see."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self.callers: Callers | None = None  # needs the connection, which needs the front, which needs this

    async def caller(self, call: Call) -> Caller:
        assert self.callers is not None  # set before the name is claimed
        credentials = await self.callers.get(call.sender)
        return Caller(credentials.uid, credentials.pid, call.sender, call.is_interactive)

    async def uid_of(self, sender: str) -> int:
        assert self.callers is not None
        return (await self.callers.get(sender)).uid

    async def is_here(self, caller: Caller) -> bool:
        """Whether it still waits for its answer; who has left the bus does not."""
        assert self.callers is not None
        try:
            await self.callers.get(caller.name)
        except CallerGone:
            return False
        return True

    async def interfaces(self, call: Call, path: str) -> Collection[str]:
        if path == ROOT:
            return (MANAGER, REAPER, STOP_GATE, WARDENS, OBJECT_MANAGER)
        if path == LOG_CONTROL_PATH:
            return (LOG_CONTROL,)
        session_id = session_id_of(path)
        if session_id is None or session_id not in self._manager.registry:
            return ()
        await self._manager.session(await self.caller(call), session_id)
        return (SESSION,)

    async def paths(self, call: Call) -> Collection[str]:
        sessions = self._manager.visible(await self.caller(call))
        return [ROOT, LOG_CONTROL_PATH, *(session_path(session.id) for session in sessions)]


def row(session: Session) -> list[object]:
    """id, agent, uid, state, cwd, path"""
    return [
        session.id,
        session.agent.value,
        session.uid,
        session.state.value,
        session.cwd,
        session_path(session.id),
    ]


def page(
    items: Sequence[T], offset: int, limit: int, make: Callable[[T], list[object]]
) -> list[list[object]]:
    """Rows from `offset` on: no more than `limit`, than a thousand, or than fit into one answer."""
    return fitting(make(item) for item in items[offset : offset + min(limit or ROWS, ROWS)])


def fitting(rows: Iterable[T]) -> list[T]:
    """The first rows, as many as fit into one answer."""
    kept: list[T] = []
    size = 0
    for made in rows:
        size += 32 + _size(made)
        if size > LIST_BYTES:
            break
        kept.append(made)
    return kept


def _size(value: object) -> int:
    """Bytes it takes in a message at the most: with lengths, signatures and padding."""
    match value:
        case str():
            return len(value.encode()) + 8
        case Variant():
            return 8 + _size(value.value)
        case dict():
            return sum(8 + _size(key) + _size(item) for key, item in value.items())
        case list():
            return sum(_size(item) for item in value)
    return 8
