"""Who is followed: when a leader ends, when its files change, and what they newly say."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from musterd.core.errors import AccessDenied, Failed, NoSuchSession
from musterd.core.session import PidRef, Session, SessionId
from musterd.host.files import Files
from musterd.host.table import Table
from musterd.host.watch import ExitWatch
from musterd.host.workers import Workers
from musterd.ports import Clock
from musterd.warden.follower import Follower
from musterd.warden.guard import Mistakes
from musterd.warden.leaders import opened, ref_of
from musterd.warden.pause import Pause
from musterd.warden.recognise import Recogniser
from musterd.warden.visit import Visit
from musterd.warden_port import Gone, WardenEvent

DEBOUNCE = 0.1  # seconds from the first change of a file to the look at it
QUERY_DEBOUNCE = 0.4  # the same for a database, where one look costs more

BACKLOG = 10_000  # events that wait for whoever reads them before no more are made

VISITS = 100  # sessions whose files are visited at once: what was read of all is held in memory


class Watch:
    """Everything that one user's sessions say goes into `events`. Made in a running loop."""

    def __init__(
        self, recogniser: Recogniser, mistakes: Mistakes, clock: Clock, home: str, workers: Workers
    ) -> None:
        self.files = Files()
        self.events: asyncio.Queue[WardenEvent | None] = asyncio.Queue()
        self._followers: dict[SessionId, Follower] = {}
        self._recogniser = recogniser
        self._mistakes = mistakes
        self._clock = clock
        self._home = home
        self._workers = workers
        self._visiting = asyncio.Lock()
        self._timers: dict[SessionId, asyncio.TimerHandle] = {}
        self._changed: asyncio.Queue[SessionId] = asyncio.Queue()
        self._reading = asyncio.get_running_loop().create_task(self._read_changed())

    async def stop(self) -> None:
        """Changes are read no more."""
        self._reading.cancel()
        await asyncio.wait([self._reading])

    def close(self) -> None:
        for session_id in list(self._followers):
            self.drop(session_id)
        self.files.close()
        self.events.put_nowait(None)

    # Who is followed

    @property
    def followers(self) -> Mapping[SessionId, Follower]:
        return self._followers

    def following(self, sessions: Iterable[Session]) -> list[Follower]:
        """Those of these sessions that are followed."""
        return [self._followers[session.id] for session in sessions if session.id in self._followers]

    def is_followed(self, follower: Follower) -> bool:
        return self._followers.get(follower.session.id) is follower

    def add(self, session: Session, leader: PidRef, lineage: Table) -> Follower:
        """Follow it from now on. Raises NoSuchSession, AccessDenied, Failed."""
        try:
            exit_watch = ExitWatch(leader, lambda: self.events.put_nowait(Gone(session.id)))
        except ProcessLookupError as exc:
            raise NoSuchSession(f"The leader of '{session.id}' has ended: {exc}.") from exc
        try:
            follower = self._follower(session, exit_watch, lineage)
        except BaseException:
            exit_watch.close()
            raise
        self._followers[session.id] = follower
        return follower

    def _follower(self, session: Session, exit_watch: ExitWatch, lineage: Table) -> Follower:
        row = lineage.find(exit_watch.process)
        facts = self._recogniser.facts.get(row) if row else None
        if row is None or exit_watch.has_ended:
            raise NoSuchSession(f"The leader of '{session.id}' has ended.")
        if facts is None:
            raise Failed(f"What runs as process {row.pid} cannot be read.")
        if facts.uid != self._recogniser.uid:
            raise AccessDenied(f"Process {facts.pid} does not belong to user {self._recogniser.uid}.")
        adapter = self._recogniser.adapter(session.agent)
        follower = Follower(
            session, adapter, facts, self._home, exit_watch, self.files, self._mark, self._mistakes
        )
        launcher = self._recogniser.launcher(row, adapter, lineage)
        follower.launcher = ref_of(launcher) if launcher else None
        return follower

    def drop(self, session_id: SessionId) -> None:
        if follower := self._followers.pop(session_id, None):
            follower.close()
        if timer := self._timers.pop(session_id, None):
            timer.cancel()

    # What changes

    def _mark(self, follower: Follower) -> None:
        """One of its files changed: look at it soon, once."""
        session_id = follower.session.id
        if session_id not in self._timers:
            self._call_later(QUERY_DEBOUNCE if follower.is_query else DEBOUNCE, session_id)

    def _call_later(self, delay: float, session_id: SessionId) -> None:
        loop = asyncio.get_running_loop()
        self._timers[session_id] = loop.call_later(delay, self._due, session_id)

    def _due(self, session_id: SessionId) -> None:
        del self._timers[session_id]
        if self.events.qsize() > BACKLOG:  # nobody listens: what is not read yet stays in the file
            self._call_later(1.0, session_id)
        else:
            self._changed.put_nowait(session_id)

    async def _read_changed(self) -> None:
        while True:
            session_id = await self._changed.get()
            if follower := self._followers.get(session_id):
                await self.read([follower])

    # What they say

    @contextmanager
    def portions(self, followers: Sequence[Follower]) -> Iterator[Iterator[Sequence[Follower]]]:
        """As many as may be read at once. All of them are read in one thread."""
        starts = range(0, len(followers), VISITS)
        with self._workers.kept():
            yield (followers[start : start + VISITS] for start in starts)

    async def read(self, followers: Sequence[Follower]) -> None:
        """Visit their files, and tell what they newly say. One whose file hangs holds up none but itself."""
        pause = Pause()
        async with self._visiting:
            found = await self._workers.each((follower.session.id, follower.visit) for follower in followers)
            for follower in followers:
                if self.is_followed(follower):
                    self._take(follower, found[follower.session.id])
                await pause()

    def _take(self, follower: Follower, visit: Visit | Exception) -> None:
        now = self._clock.now()
        try:
            said = follower.take(visit, now)
        except Exception as exc:  # noqa: BLE001 - of one session
            said = follower.take(exc, now)
        for event in said:
            self.events.put_nowait(event)

    def hold(self, follower: Follower) -> None:
        """Its open files may have come to tell which conversations it holds."""
        found = opened(follower.adapter, follower.process.pid)
        for said in follower.holds(found.session, found.transcripts, self._clock.now()):
            self.events.put_nowait(said)
