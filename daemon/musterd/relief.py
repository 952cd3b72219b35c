"""Memory without the end of a session that lives: leftovers of dead ones, and what the kernel takes back."""

import asyncio
import logging
from collections.abc import Sequence

from musterd.core.case import Case, Mode
from musterd.core.errors import Failed, MusterError
from musterd.core.session import Session, SessionId
from musterd.core.units import size
from musterd.ender import Ender
from musterd.judge import Judge
from musterd.manager import Manager
from musterd.ports import Record
from musterd.together import all_of
from musterd.warden_port import Leftover, Warden

logger = logging.getLogger(__name__)

# Rounds that end with memory that one user's warden says came back without an end.
RELIEFS_PER_HOUR = 20


class Relief:
    """The first steps of the reaper: each says whether memory came back."""

    def __init__(self, manager: Manager, judge: Judge, ender: Ender) -> None:
        self._manager = manager
        self._judge = judge
        self._ender = ender
        self._ports = manager.ports
        self._reclaimed: dict[SessionId, int] = {}  # last word of a session when its memory was taken back
        self._relieved: dict[int, list[float]] = {}  # by user: when memory came back, by the loop
        self._reported: dict[int, set[tuple[SessionId, int]]] = {}  # by user: leftovers that were told of

    # Leftovers of dead sessions: the safest memory there is

    async def clear_leftovers(self) -> bool:
        """Whether something was ended."""
        past: dict[int, list[Session]] = {}
        for session in self._manager.registry.past():
            past.setdefault(session.uid, []).append(session)
        there = [(self._ports.wardens.find(uid), sessions) for uid, sessions in past.items()]
        clearing = [self._clear_leftovers_of(warden, sessions) for warden, sessions in there if warden]
        return any(await all_of(clearing))

    def _may_relieve(self, uid: int) -> bool:
        """Whether this user's warden is believed once more that memory came back.

        The round ends with that, so that it would be a way to keep the reaper from everybody's sessions.
        """
        hour_ago = asyncio.get_running_loop().time() - 3600
        self._relieved[uid] = [at for at in self._relieved.get(uid, []) if at > hour_ago]
        return len(self._relieved[uid]) < RELIEFS_PER_HOUR

    def _has_relieved(self, uid: int) -> None:
        self._relieved.setdefault(uid, []).append(asyncio.get_running_loop().time())

    async def _clear_leftovers_of(self, warden: Warden, sessions: Sequence[Session]) -> bool:
        try:
            left = await warden.leftovers(sessions)
            self._report(left, warden.uid)
            if (
                not left
                or self._manager.config.reaper.leftovers != "end"
                or self._judge.acting_mode(warden.uid) is not Mode.ON
                or not self._may_relieve(warden.uid)
            ):
                return False
            ending = await warden.end_leftovers(left)
        except Failed as exc:
            logger.warning("Cannot look for leftovers of user %d: %s, ignoring", warden.uid, exc)
            return False
        text = f"{len(left)} leftovers of dead sessions were ended, {size(ending.freed)} came back"
        now = self._ports.clock.now()
        self._ports.log.append(Record(now, "leftovers-ended", uid=warden.uid, text=text))
        self._has_relieved(warden.uid)
        return True

    def _report(self, left: Sequence[Leftover], uid: int) -> None:
        """Each of them once."""
        for leftover in left:
            key = (leftover.session, leftover.process.pid)
            if key not in self._reported.get(uid, ()):
                text = f"{leftover.name} ({leftover.process.pid}) is left of it, {size(leftover.memory)}"
                now = self._ports.clock.now()
                self._ports.log.append(Record(now, "leftover", leftover.session, uid, text))
        self._reported[uid] = {(leftover.session, leftover.process.pid) for leftover in left}

    # Memory without an end

    async def reclaim(self, ranked: Sequence[Case]) -> bool:
        """Whether memory came back from the first that still has some to give; once in each idle time."""
        for session in (case.session for case in ranked if case.session.scope):
            if self._judge.acting_mode(session.uid) is not Mode.ON or not self._may_relieve(session.uid):
                continue
            was_taken = self._reclaimed.get(session.id) == session.turn.last_word
            if was_taken or self._ender.is_leased(session.id):
                continue
            self._reclaimed = {i: at for i, at in self._reclaimed.items() if i in self._manager.registry}
            self._reclaimed[session.id] = session.turn.last_word
            if freed := await self._reclaim_from(session):
                self._has_relieved(session.uid)
                text = f"{size(freed)} came back from session '{session.id}', which goes on"
                now = self._ports.clock.now()
                fields = {"freed": freed}
                self._ports.log.append(Record(now, "reclaimed", session.id, session.uid, text, fields))
                return True
        return False

    async def _reclaim_from(self, session: Session) -> int:
        warden = self._ports.wardens.find(session.uid)
        try:
            return await warden.reclaim(session) if warden else 0
        except MusterError as exc:
            logger.warning("Cannot take memory back from session '%s': %s, ignoring", session.id, exc)
            return 0
