"""The warden in this process: what it sees of one user's agents, put together."""

import asyncio
import logging
import os
import pwd
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace

from musterd.agents.base import Adapter
from musterd.core.errors import AccessDenied, Failed, NoSuchSession
from musterd.core.evidence import Child, Observation, Presence, Unknown, Usage, Work
from musterd.core.session import Agent, PidRef, Session, SessionId
from musterd.host import cgroup
from musterd.host.files import Files
from musterd.host.locks import lock_holders
from musterd.host.table import Table
from musterd.host.terminal import Terminals
from musterd.host.watch import ExitWatch
from musterd.host.workers import Workers
from musterd.ports import Appeared, Clock, Ending, Gone, Leader, Leftover, WardenEvent
from musterd.warden.discovery import Discovery
from musterd.warden.ending import Ends
from musterd.warden.follower import Follower
from musterd.warden.guard import Mistakes, refusing
from musterd.warden.leaders import Leaders, lineage_table, open_session, ref_of
from musterd.warden.look import Tree, children_of, missing, observation, trees_of, with_screen
from musterd.warden.notice import Notices
from musterd.warden.recognise import Found, Recogniser
from musterd.warden.revive import Revivals
from musterd.warden.visit import Visit
from musterd.warden.wayback import WayBack
from musterd.warden.work import without_hooks, work

logger = logging.getLogger(__name__)

DEBOUNCE = 0.1  # seconds from the first change of a file to the look at it
QUERY_DEBOUNCE = 0.4  # the same for a database, where one look costs more

BACKLOG = 10_000  # events that wait for whoever reads them before no more are made

_VISITS = 100  # sessions whose files are visited at once: what was read of all is held in memory

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
        bus: str = "system",  # where musterctl finds us, as on our command line
        interval: float | None = 30.0,  # seconds between two sweeps; None: look for no agents
    ) -> None:
        self.uid = uid
        self._clock = clock
        self._home = home or _home_of(uid)
        self._mistakes = Mistakes()
        self._workers = Workers()
        self._visiting = asyncio.Lock()
        self._recogniser = Recogniser(uid, adapters, self._mistakes)
        self._terminals = Terminals(uid)
        self._leaders = Leaders(self._recogniser, self._terminals, self._home, self._pass, self._workers)
        self._files = Files()
        self._followers: dict[SessionId, Follower] = {}
        self._announced: set[tuple[int, int]] = set()  # pid and start of leaders that were told of
        way_back = WayBack(bus)
        self._revivals = Revivals(uid, way_back, self.sweep)
        self._ends = Ends(
            self._recogniser, self._followers, Notices(uid, way_back), self._pass, self.observe
        )
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
        with refusing(f"Process {pid} cannot be looked at"):
            return await self._leaders.leader(pid, agent)

    async def lineage(self, pid: int) -> Sequence[PidRef]:
        with refusing(f"Process {pid} cannot be looked at"):
            return self._leaders.lineage(pid)

    # Watching

    async def watch(self, session: Session) -> None:
        with refusing(f"Session '{session.id}' cannot be watched"):
            await self._watch(session)

    async def _watch(self, session: Session) -> None:
        if session.leader is None:
            raise NoSuchSession(f"Session '{session.id}' is on another host.")
        lineage = lineage_table(session.leader.pid)
        await self._recogniser.learn(lineage.rows.values())
        if follower := self._followers.get(session.id):
            if follower.exit_watch.has_ended:
                raise NoSuchSession(f"The leader of '{session.id}' has ended.")
            follower.renew(session)
            return
        follower = self._follow(session, session.leader, lineage)
        self._followers[session.id] = follower
        self._announced.add(_key(follower.process))
        await self._read([follower])
        if session.ending:
            await self._ends.take_back(follower)

    def _follow(self, session: Session, leader: PidRef, lineage: Table) -> Follower:
        try:
            exit_watch = ExitWatch(leader, lambda: self._ended(session.id))
        except ProcessLookupError as exc:
            raise NoSuchSession(f"The leader of '{session.id}' has ended: {exc}.") from exc
        try:
            return self._follower(session, exit_watch, lineage)
        except BaseException:
            exit_watch.close()
            raise

    def _follower(self, session: Session, exit_watch: ExitWatch, lineage: Table) -> Follower:
        row = lineage.find(exit_watch.process)
        facts = self._recogniser.facts.get(row) if row else None
        if row is None or exit_watch.has_ended:
            raise NoSuchSession(f"The leader of '{session.id}' has ended.")
        if facts is None:
            raise Failed(f"What runs as process {row.pid} cannot be read.")
        if facts.uid != self.uid:
            raise AccessDenied(f"Process {facts.pid} does not belong to user {self.uid}.")
        adapter = self._recogniser.adapter(session.agent)
        follower = Follower(
            session, adapter, facts, self._home, exit_watch, self._files, self._mark, self._mistakes
        )
        launcher = self._recogniser.launcher(row, adapter, lineage)
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
                await self._read([follower])

    async def _read(self, followers: Sequence[Follower]) -> None:
        """Visit their files, and tell what they newly say. One whose file hangs holds up none but itself."""
        pause = _Pause()
        async with self._visiting:
            found = await self._workers.each((follower.session.id, follower.visit) for follower in followers)
            for follower in followers:
                if self._is_followed(follower):
                    self._take(follower, found[follower.session.id])
                await pause()

    def _take(self, follower: Follower, visit: Visit | Exception) -> None:
        now = self._clock.now()
        try:
            said = follower.take(visit, now)
        except Exception as exc:  # noqa: BLE001 - of one session
            said = follower.take(exc, now)
        for event in said:
            self._events.put_nowait(event)

    def _is_followed(self, follower: Follower) -> bool:
        return self._followers.get(follower.session.id) is follower

    # Looking

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        with refusing("The sessions cannot be looked at"):
            looks = await self._observe(sessions, screens=screens)
            return {session_id: _until_now(look) for session_id, look in looks.items()}

    async def _observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        at = self._clock.now()
        followers = self._following(sessions)
        trees = await self._trees(followers)
        holders = _lock_holders(followers)
        attended = await self._terminals.attended({f.session.terminal for f in followers})
        looks: dict[SessionId, Observation] = {s.id: missing(at, "it is not watched") for s in sessions}
        pause = _Pause()
        for some in _portions(followers):
            await self._read(some)
            for follower in some:
                if not self._is_followed(follower):
                    continue
                session_id = follower.session.id
                try:
                    if follower.held_session_id or follower.process.pid in holders:
                        self._hold(follower)
                    looks[session_id] = self._look(follower, trees[session_id], at, attended)
                except Exception as exc:  # noqa: BLE001 - of one session; unknown keeps it
                    looks[session_id] = missing(at, self._why_not(follower, exc))
                await pause()
        return await self._with_screens(followers, looks) if screens else looks

    def _why_not(self, follower: Follower, exc: Exception) -> str:
        return f"it cannot be looked at: {self._mistakes.why(follower.adapter, exc)}"

    def _look(self, follower: Follower, tree: Tree, at: int, attended: Mapping[str, bool]) -> Observation:
        if tree.leader is None:
            return missing(at, f"process {follower.process.pid} has ended")
        presence = self._terminals.presence(follower.session.terminal, tree.leader.tty, attended)
        return observation(follower, tree, self._recogniser, presence, at)

    async def _with_screens(
        self, followers: Sequence[Follower], looks: Mapping[SessionId, Observation]
    ) -> Mapping[SessionId, Observation]:
        views = await self._terminals.views({f.session.terminal for f in followers})
        seen = dict(looks)
        for follower in followers:
            session = follower.session
            try:
                seen[session.id] = with_screen(follower, looks[session.id], views.get(session.terminal))
            except Exception as exc:  # noqa: BLE001 - of one session; unknown keeps it
                why = self._mistakes.why(follower.adapter, exc)
                screen = Unknown(f"its screen cannot be read: {why}")
                seen[session.id] = replace(looks[session.id], screen=screen)
        return seen

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        with refusing("The sessions cannot be looked at"):
            trees = await self._trees(self._following(sessions))
            return {session_id: tree.usage for session_id, tree in trees.items()}

    async def work(self, session: Session, check_command: Sequence[str], seconds: float) -> Work:
        with refusing(f"What session '{session.id}' works on cannot be told"):
            return await work(session, check_command, seconds, lambda: self._at_work(session.id))

    async def _at_work(self, session_id: SessionId) -> Sequence[Child] | Unknown:
        follower = self._followers.get(session_id)
        if follower is None:
            return Unknown("it is not watched")
        tree = (await self._trees([follower]))[session_id]
        rows = without_hooks(tree.children, self._recogniser.facts)
        return children_of(follower, replace(tree, children=rows), self._recogniser)

    def _following(self, sessions: Sequence[Session]) -> list[Follower]:
        return [self._followers[session.id] for session in sessions if session.id in self._followers]

    async def _trees(self, followers: Sequence[Follower]) -> Mapping[SessionId, Tree]:
        return trees_of(await self._pass(), self._recogniser, followers)

    # Ending and bringing back

    async def end(self, session: Session, last_look: Observation | None) -> Ending:
        await self.watch(session)
        with refusing(f"Session '{session.id}' cannot be ended"):
            return await self._ends.end(session.id, last_look)

    async def reclaim(self, session: Session) -> int:
        with refusing(f"The memory of session '{session.id}' cannot be reclaimed"):
            follower = self._followers.get(session.id)
            scope = cgroup.scope_of(follower.process.pid) if follower else ""
            if follower is None or not scope:
                return 0
            tree = (await self._trees([follower]))[session.id]
            if not cgroup.members(scope) <= {row.pid for row in tree.rows}:
                return 0  # somebody else is in it
            return await self._workers.do(f"reclaim {session.id}", lambda: cgroup.reclaim(scope))

    async def leftovers(self, sessions: Sequence[Session]) -> Sequence[Leftover]:
        with refusing("Leftovers cannot be looked for"):
            return await self._ends.leftovers(sessions)

    async def end_leftovers(self, leftovers: Sequence[Leftover]) -> Ending:
        with refusing("Leftovers cannot be ended"):
            return await self._ends.end_leftovers(leftovers)

    async def resume(self, session: Session) -> None:
        with refusing(f"Session '{session.id}' cannot be resumed"):
            usual = self._recogniser.adapter(session.agent).resume_command(session)
            await self._revivals.resume(session, usual[0] if usual else "")

    # Looking for new ones

    async def sweep(self) -> None:
        with refusing("New agents cannot be looked for"):
            async with self._sweeping:
                await self._sweep()

    def forget(self, process: PidRef) -> None:
        self._announced.discard(_key(process))

    async def _sweep(self) -> None:
        table = await self._pass()
        followers = list(self._followers.values())
        for follower in followers:
            follower.arrange()
        for some in _portions(followers):
            await self._read(some)
        pause = _Pause()
        for follower in followers:
            if self._is_followed(follower) and not follower.session.agent_session_id:
                try:
                    self._hold(follower)
                except Exception as exc:  # noqa: BLE001 - of one session; the next look tells
                    logger.debug("Session '%s': %s", follower.session.id, self._why_not(follower, exc))
            await pause()
        for found in self._recogniser.all(table):
            if (found.row.pid, found.row.start_ticks) not in self._announced:
                await self._announce(found, table)
            await pause()

    async def _announce(self, found: Found, table: Table) -> None:
        try:
            leader = await self._leaders.describe(found, table)
        except NoSuchSession:
            return  # it ended while we looked
        except Exception as exc:  # noqa: BLE001 - of one process; the next sweep finds it again
            why = self._mistakes.why(found.adapter, exc)
            logger.warning("Process %d cannot be described: %s, ignoring", found.row.pid, why)
            return
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
        self._prune(table)
        await self._recogniser.learn(table.rows.values())
        return table

    def _prune(self, table: Table) -> None:
        """Forget who has ended. Who was watched while the table was read may be missing there."""
        alive = {(row.pid, row.start_ticks) for row in table.rows.values()}
        self._announced &= alive | {_key(follower.process) for follower in self._followers.values()}
        self._leaders.prune(alive)
        self._recogniser.prune(table)


def _portions(followers: Sequence[Follower]) -> Iterator[Sequence[Follower]]:
    for start in range(0, len(followers), _VISITS):
        yield followers[start : start + _VISITS]


def _lock_holders(followers: Sequence[Follower]) -> set[int]:
    """Who may have a file locked: anybody, if the kernel does not tell."""
    try:
        return lock_holders()
    except OSError as exc:
        logger.debug("Cannot read who holds locks: %s, asking all", exc.strerror)
        return {follower.process.pid for follower in followers}


def _until_now(look: Observation) -> Observation:
    """Nobody typed after the look: what tells the latest that it can have been may be ahead of it."""
    if not isinstance(look.presence, Presence) or look.presence.last_input <= look.at:
        return look
    return replace(look, presence=replace(look.presence, last_input=look.at))


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
