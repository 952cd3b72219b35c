"""The inhibitors that are held now."""

import asyncio
from collections.abc import Callable, Iterator

from musterd.core.errors import LimitReached
from musterd.core.inhibitor import Inhibitor, Mode, What
from musterd.core.session import SessionId

INHIBITORS_PER_SESSION = 32
INHIBITORS_PER_USER = 256  # each takes an fd


class Inhibitors:
    def __init__(self, on_change: Callable[[], None], forget: Callable[[int], None]) -> None:
        """`forget` has what is on disk of one that was given back removed."""
        self._on_change = on_change
        self._forget = forget
        self.on_given_back: Callable[[int], None] = lambda _: None  # whoever gave out its fd closes that
        self.on_found: Callable[[int, int], None] = lambda _number, _read: None  # and follows that read end
        self._held: dict[int, Inhibitor] = {}
        self._taken = 0
        self._given_back = asyncio.Event()  # set, and replaced, when one is

    def __iter__(self) -> Iterator[Inhibitor]:
        return iter(list(self._held.values()))

    def __contains__(self, number: int) -> bool:
        return number in self._held

    def __len__(self) -> int:
        return len(self._held)

    def take(
        self,
        what: frozenset[What],
        who: str,
        why: str,
        mode: Mode,
        uid: int,
        pid: int,
        session: str,
        *,
        is_operators: bool = False,
    ) -> Inhibitor:
        """Held until `give_back`. Raises LimitReached."""
        for limit, same in (
            (INHIBITORS_PER_SESSION, [i for i in self if (i.uid, i.session) == (uid, session)]),
            (INHIBITORS_PER_USER, [i for i in self if i.uid == uid]),
        ):
            if len(same) >= limit:
                raise LimitReached(f"There are {limit} inhibitors already; release some first.")
        self._taken += 1
        inhibitor = Inhibitor(self._taken, what, who, why, mode, uid, pid, session, is_operators)
        self._held[inhibitor.number] = inhibitor
        self._on_change()
        return inhibitor

    def find(self, inhibitor: Inhibitor, read: int) -> None:
        """One that a daemon before us gave out, and somebody still holds; `read` is our end of its pipe."""
        self._taken = max(self._taken, inhibitor.number)
        self._held[inhibitor.number] = inhibitor
        self.on_found(inhibitor.number, read)

    def give_back(self, number: int) -> None:
        """Numbers that are not held are ignored: the session may have ended before its holder."""
        if self._held.pop(number, None):
            self._on_change()
            self.on_given_back(number)
            self._forget(number)
            waiting, self._given_back = self._given_back, asyncio.Event()
            waiting.set()

    def drop(self, session_id: SessionId) -> None:
        """Those of a session that is gone."""
        for inhibitor in self:
            if inhibitor.session == session_id:
                self.give_back(inhibitor.number)

    async def one_given_back(self) -> None:
        await self._given_back.wait()
