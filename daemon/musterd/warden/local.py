"""The warden in this process: what it sees of one user's agents, put together."""

import asyncio
import logging
import os
import pwd
import time
from collections.abc import AsyncIterator, Mapping, Sequence

from musterd.agents.base import Adapter
from musterd.core.errors import AccessDenied, Failed, NoSuchSession
from musterd.core.evidence import Observation, Usage
from musterd.core.session import Agent, PidRef, Session, SessionId
from musterd.host.files import Files
from musterd.host.locks import lock_holders
from musterd.host.table import Table
from musterd.host.terminal import Terminals
from musterd.host.watch import ExitWatch
from musterd.ports import Appeared, Clock, Ending, Gone, Leader, Leftover, WardenEvent
from musterd.warden.discovery import Discovery
from musterd.warden.ending import Ends
from musterd.warden.follower import Follower
from musterd.warden.leaders import Leaders, lineage_table, open_session, ref_of
from musterd.warden.look import Tree, missing, observation, trees_of, with_screen
from musterd.warden.notice import Notices
from musterd.warden.recognise import Found, Recogniser
from musterd.warden.revive import Revivals

logger = logging.getLogger(__name__)

DEBOUNCE = 0.1  # seconds from the first change of a file to the look at it
QUERY_DEBOUNCE = 0.4  # the same for a database, where one look costs more

BACKLOG = 10_000  # events that wait for whoever reads them before no more are made

_SLICE = 0.02  # seconds of work between two turns of the loop


class LocalWarden:
    """Fulfils ports.Warden. Made in a running loop, as the user it is about (or as root)."""

    def __init__(
        self,
        uid: int,
        adapters: Sequence[Adapter],
        clock: Clock,
        home: str = "",
        *,
        interval: float | None = 30.0,  # seconds between two sweeps; None: look for no agents
    ) -> None:
        self.uid = uid
        self._clock = clock
        self._home = home or _home_of(uid)
        self._recogniser = Recogniser(uid, adapters)
        self._terminals = Terminals(uid)
        self._leaders = Leaders(self._recogniser, self._terminals, self._home, self._pass)
        self._files = Files()
        self._followers: dict[SessionId, Follower] = {}
        self._announced: set[tuple[int, int]] = set()  # pid and start of leaders that were told of
        self._revivals = Revivals(uid, self.sweep)
        self._ends = Ends(self._recogniser, self._followers, Notices(uid), self._pass, self.observe)
        self._sweeping = asyncio.Lock()
        self._events: asyncio.Queue[WardenEvent | None] = asyncio.Queue()
        self._timers: dict[SessionId, asyncio.TimerHandle] = {}
        self._changed: asyncio.Queue[SessionId] = asyncio.Queue()
        opens = [os.path.join(self._home, path) for adapter in adapters for path in adapter.opens]
        self._discovery = Discovery(self._files, opens, self.sweep, interval) if interval else None
        self._reading = asyncio.get_running_loop().create_task(self._read_changed())

    async def close(self) -> None:
        if self._discovery:
            await self._discovery.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._revivals.close()
        for session_id in list(self._followers):
            self.unwatch(session_id)
        self._files.close()
        self._events.put_nowait(None)

    async def events(self) -> AsyncIterator[WardenEvent]:
        if self._discovery:
            self._discovery.start()
        while (event := await self._events.get()) is not None:
            yield event

    async def leader(self, pid: int, agent: Agent | None) -> Leader:
        return await self._leaders.leader(pid, agent)

    async def lineage(self, pid: int) -> Sequence[PidRef]:
        return self._leaders.lineage(pid)

    # Watching

    async def watch(self, session: Session) -> None:
        if follower := self._followers.get(session.id):
            if follower.exit_watch.has_ended:
                raise NoSuchSession(f"The leader of '{session.id}' has ended.")
            follower.renew(session)
            return
        follower = self._follow(session)
        self._followers[session.id] = follower
        self._announced.add(_key(follower.process))
        await self._read(follower)

    def _follow(self, session: Session) -> Follower:
        if session.leader is None:
            raise NoSuchSession(f"Session '{session.id}' is on another host.")
        adapter = self._recogniser.adapter(session.agent)
        try:
            exit_watch = ExitWatch(session.leader, lambda: self._ended(session.id))
        except ProcessLookupError as exc:
            raise NoSuchSession(f"The leader of '{session.id}' has ended: {exc}.") from exc
        except OSError as exc:
            raise Failed(f"Session '{session.id}' cannot be watched: {exc.strerror}.") from exc
        table = lineage_table(session.leader.pid)
        row = table.find(session.leader)
        facts = self._recogniser.facts.get(row) if row else None
        if row is None or facts is None or facts.uid != self.uid:
            exit_watch.close()
            if facts:
                raise AccessDenied(f"Process {facts.pid} does not belong to user {self.uid}.")
            raise NoSuchSession(f"The leader of '{session.id}' has ended.")
        follower = Follower(session, adapter, facts, self._home, exit_watch, self._files, self._mark)
        launcher = self._recogniser.launcher(row, adapter, table)
        follower.launcher = ref_of(launcher) if launcher else None
        started = self._recogniser.facts.get(launcher) if launcher else None
        self._revivals.remember(session.id, started or facts)
        self._ends.remember(session.id, row.pid)
        return follower

    def unwatch(self, session_id: SessionId) -> None:
        if follower := self._followers.pop(session_id, None):
            follower.close()
        if timer := self._timers.pop(session_id, None):
            timer.cancel()

    def _ended(self, session_id: SessionId) -> None:
        self._events.put_nowait(Gone(session_id))

    def _mark(self, follower: Follower) -> None:
        """One of its files changed: look at it soon, once."""
        session_id = follower.session.id
        if session_id not in self._timers:
            loop = asyncio.get_running_loop()
            delay = QUERY_DEBOUNCE if follower.is_query else DEBOUNCE
            self._timers[session_id] = loop.call_later(delay, self._due, session_id)

    def _due(self, session_id: SessionId) -> None:
        del self._timers[session_id]
        if self._events.qsize() > BACKLOG:  # nobody listens: what is not read yet stays in the file
            loop = asyncio.get_running_loop()
            self._timers[session_id] = loop.call_later(1.0, self._due, session_id)
        else:
            self._changed.put_nowait(session_id)

    async def _read_changed(self) -> None:
        while True:
            session_id = await self._changed.get()
            if follower := self._followers.get(session_id):
                try:
                    await self._read(follower)
                except Exception:
                    logger.exception("Cannot read the files of session '%s', ignoring", session_id)

    async def _read(self, follower: Follower) -> None:
        for said in await follower.read(self._clock.now()):
            self._events.put_nowait(said)

    # Looking

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        at = self._clock.now()
        followers = self._following(sessions)
        trees = await self._trees(followers)
        holders = lock_holders()
        looks: dict[SessionId, Observation] = {s.id: missing(at, "it is not watched") for s in sessions}
        pause = _Pause()
        for follower in followers:
            if follower.held_session_id or follower.process.pid in holders:
                self._hold(follower)
            await self._read(follower)
            looks[follower.session.id] = self._look(follower, trees[follower.session.id], at)
            await pause()
        return await self._with_screens(followers, looks) if screens else looks

    def _look(self, follower: Follower, tree: Tree, at: int) -> Observation:
        if tree.leader is None:
            return missing(at, f"process {follower.process.pid} has ended")
        presence = self._terminals.presence(follower.session.terminal, tree.leader.tty)
        return observation(follower, tree, self._recogniser, presence, at)

    async def _with_screens(
        self, followers: Sequence[Follower], looks: Mapping[SessionId, Observation]
    ) -> Mapping[SessionId, Observation]:
        views = await self._terminals.views({f.session.terminal for f in followers})
        seen = dict(looks)
        for follower in followers:
            session = follower.session
            seen[session.id] = with_screen(follower, looks[session.id], views.get(session.terminal))
        return seen

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        trees = await self._trees(self._following(sessions))
        return {session_id: tree.usage for session_id, tree in trees.items()}

    def _following(self, sessions: Sequence[Session]) -> list[Follower]:
        return [self._followers[session.id] for session in sessions if session.id in self._followers]

    async def _trees(self, followers: Sequence[Follower]) -> Mapping[SessionId, Tree]:
        return trees_of(await self._pass(), self._recogniser, followers)

    # Ending and bringing back

    async def end(self, session: Session, last_look: Observation | None) -> Ending:
        await self.watch(session)
        return await self._ends.end(session.id, last_look)

    async def leftovers(self, sessions: Sequence[Session]) -> Sequence[Leftover]:
        return await self._ends.leftovers(sessions)

    async def end_leftovers(self, leftovers: Sequence[Leftover]) -> Ending:
        return await self._ends.end_leftovers(leftovers)

    async def resume(self, session: Session) -> None:
        usual = self._recogniser.adapter(session.agent).resume_command(session)
        await self._revivals.resume(session, usual[0] if usual else "")

    # Looking for new ones

    async def sweep(self) -> None:
        async with self._sweeping:
            await self._sweep()

    def forget(self, process: PidRef) -> None:
        self._announced.discard(_key(process))

    async def _sweep(self) -> None:
        table = await self._pass()
        alive = {(row.pid, row.start_ticks) for row in table.rows.values()}
        # Who was watched while the table was read may be missing there.
        self._announced &= alive | {_key(follower.process) for follower in self._followers.values()}
        self._leaders.prune(alive)
        pause = _Pause()
        for follower in list(self._followers.values()):
            if not follower.session.agent_session_id:
                self._hold(follower)
            follower.arrange()
        for found in self._recogniser.all(table):
            if (found.row.pid, found.row.start_ticks) not in self._announced:
                await self._announce(found, table)
            await pause()

    async def _announce(self, found: Found, table: Table) -> None:
        try:
            leader = await self._leaders.describe(found, table)
        except NoSuchSession:
            return  # it ended while we looked
        if _key(leader.process) not in self._announced:  # it may have registered meanwhile
            self._announced.add(_key(leader.process))
            self._events.put_nowait(Appeared(leader))

    def _hold(self, follower: Follower) -> None:
        """Its open files may have come to tell which conversation it holds."""
        agent_session_id = open_session(follower.adapter, follower.process.pid)
        for said in follower.holds(agent_session_id, self._clock.now()):
            self._events.put_nowait(said)

    async def _pass(self) -> Table:
        """All processes now. The loop goes on meanwhile; what programs they are is read when first seen."""
        table = await asyncio.to_thread(Table.read)
        self._recogniser.prune(table)
        pause = _Pause()
        for row in table.rows.values():
            if self._recogniser.is_ours(row):
                self._recogniser.facts.get(row)
            await pause()
        return table


def _key(process: PidRef) -> tuple[int, int]:
    return process.pid, process.start_ticks


class _Pause:
    """Lets the loop turn now and then during a long piece of work."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def __call__(self) -> None:
        if time.monotonic() - self._since > _SLICE:
            await asyncio.sleep(0)
            self._since = time.monotonic()


def _home_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return os.path.expanduser("~") if uid == os.getuid() else "/nonexistent"
