"""Uncommitted work in the directories of sessions that nothing else keeps: git is asked once for each."""

import asyncio
from collections.abc import Iterable, Mapping

from musterd.core.errors import MusterError
from musterd.core.evidence import Unknown, Work
from musterd.core.session import Session, SessionId
from musterd.core.units import USEC_PER_SEC
from musterd.manager import Manager
from musterd.together import all_of

TIMEOUT = 2.0  # seconds for one directory
ROUND = 10.0  # seconds for all of them; those that were not reached by then stay unknown
PARALLEL = 4  # at the same time

# Uncommitted work keeps, and rarely goes away while its session is idle: it is not looked for again so soon.
DIRTY_LIFE = 300 * USEC_PER_SEC

_Place = tuple[int, str]  # user and directory


class Worktrees:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._clock = manager.ports.clock
        self._turns = asyncio.Semaphore(PARALLEL)
        self._dirty: dict[_Place, tuple[int, str]] = {}

    async def of(self, sessions: Iterable[Session], *, anew: bool) -> Mapping[SessionId, str | Unknown]:
        """As Observation.worktree. `anew` asks also where uncommitted work was found a moment ago."""
        places: dict[_Place, list[Session]] = {}
        for session in sessions:
            places.setdefault((session.uid, session.cwd), []).append(session)
        if not places:
            return {}
        now = self._clock.now()
        self._dirty = {place: told for place, told in self._dirty.items() if 0 <= now - told[0] < DIRTY_LIFE}
        known = {} if anew else {place: text for place, (_, text) in self._dirty.items()}
        asked = {place: some[0] for place, some in places.items() if place not in known}
        deadline = asyncio.get_running_loop().time() + ROUND
        found = await all_of(self._ask(session, deadline) for session in asked.values())
        states = {**known, **dict(zip(asked, found, strict=True))}
        self._dirty |= {p: (now, text) for p in asked if isinstance(text := states[p], str) and text}
        return {session.id: states[place] for place, some in places.items() for session in some}

    async def _ask(self, session: Session, deadline: float) -> str | Unknown:
        try:
            async with asyncio.timeout_at(deadline), self._turns:
                warden = await self._manager.warden_of(session.uid)
                return _words(await warden.work(session, (), TIMEOUT))
        except TimeoutError:
            return Unknown("its directory was not looked at in time")
        except MusterError as exc:
            return Unknown(f"its directory cannot be looked at: {exc}")


def _words(work: Work) -> str | Unknown:
    if work.uncommitted is None:
        return Unknown("; ".join(work.unknown)) if work.unknown else ""
    if not work.uncommitted:
        return ""
    return f"{work.uncommitted} uncommitted files" if work.uncommitted > 1 else "1 uncommitted file"
