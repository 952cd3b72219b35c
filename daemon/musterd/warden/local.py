"""The warden in this process: eyes and hands of one user, put together."""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from musterd.agents.base import Adapter
from musterd.core.errors import NoSuchSession
from musterd.core.evidence import Observation, Usage, Work
from musterd.core.session import Agent, PidRef, Session, SessionId
from musterd.host import cgroup
from musterd.host.table import Table
from musterd.host.terminal import Terminals
from musterd.host.workers import Hung, Workers
from musterd.ports import Clock
from musterd.warden.discovery import Discovery
from musterd.warden.ending import Ends
from musterd.warden.guard import Mistakes, refusing
from musterd.warden.leaders import Leaders, lineage_table
from musterd.warden.looks import Looks
from musterd.warden.notice import Notices
from musterd.warden.recognise import Recogniser
from musterd.warden.revive import Revivals
from musterd.warden.sweeps import Sweeps
from musterd.warden.watch import Watch
from musterd.warden.wayback import WayBack
from musterd.warden_port import Ending, Leader, Leftover, WardenEvent


class LocalWarden:
    """Fulfils warden_port.Warden. Made in a running loop, as the user it is about (or as root)."""

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
        home = home or _home_of(uid)
        mistakes, way_back, terminals = Mistakes(), WayBack(bus), Terminals(uid)
        self._workers = Workers()
        self._recogniser = Recogniser(uid, adapters, mistakes)
        self._leaders = Leaders(self._recogniser, terminals, home, self._pass, self._workers)
        self._watch = Watch(self._recogniser, mistakes, clock, home, self._workers)
        self._looks = Looks(self._watch, self._recogniser, terminals, mistakes, clock, self._pass)
        self._sweeps = Sweeps(self._watch, self._recogniser, self._leaders, mistakes, self._pass)
        self._revivals = Revivals(uid, way_back, self.sweep)
        self._ends = Ends(
            self._recogniser, self._watch.followers, Notices(uid, way_back), self._pass, self.observe
        )
        opens = [os.path.join(home, path) for adapter in adapters for path in adapter.opens]
        self._discovery = Discovery(self._watch.files, opens, self.sweep, interval) if interval else None

    async def close(self) -> None:
        if self._discovery:
            await self._discovery.close()
        await self._watch.stop()
        await self._revivals.close()
        self._watch.close()

    async def events(self) -> AsyncIterator[WardenEvent]:
        if self._discovery:
            self._discovery.start()
        while (event := await self._watch.events.get()) is not None:
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
            await self._follow(session)

    async def _follow(self, session: Session) -> None:
        if session.leader is None:
            raise NoSuchSession(f"Session '{session.id}' is on another host.")
        lineage = lineage_table(session.leader.pid)
        await self._recogniser.learn(lineage.rows.values())
        if follower := self._watch.followers.get(session.id):
            if follower.exit_watch.has_ended:
                raise NoSuchSession(f"The leader of '{session.id}' has ended.")
            follower.renew(session)
            return
        follower = self._watch.add(session, session.leader, lineage)
        self._sweeps.remember(follower.process)
        self._ends.remember(session.id, follower.process.pid)
        top = lineage.rows.get(follower.launcher.pid) if follower.launcher else None
        started = self._recogniser.facts.get(top) if top else None
        self._revivals.remember(session.id, started or follower.facts)
        await self._watch.read([follower])
        if session.ending:
            await self._ends.take_back(follower)

    def unwatch(self, session_id: SessionId) -> None:
        self._watch.drop(session_id)

    # Looking

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        with refusing("The sessions cannot be looked at"):
            return await self._looks.observe(sessions, screens=screens)

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        with refusing("The sessions cannot be looked at"):
            return await self._looks.usage(sessions)

    async def work(self, session: Session, check_command: Sequence[str], seconds: float) -> Work:
        with refusing(f"What session '{session.id}' works on cannot be told"):
            return await self._looks.work(session, check_command, seconds)

    # Ending and bringing back

    async def end(self, session: Session, last_look: Observation | None) -> Ending:
        await self.watch(session)
        with refusing(f"Session '{session.id}' cannot be ended"):
            return await self._ends.end(session.id, last_look)

    async def reclaim(self, session: Session) -> int:
        with refusing(f"The memory of session '{session.id}' cannot be reclaimed"):
            follower = self._watch.followers.get(session.id)
            scope = cgroup.scope_of(follower.process.pid) if follower else ""
            if follower is None or not scope:
                return 0
            tree = (await self._looks.trees([follower]))[session.id]
            if not cgroup.members(scope) <= {row.pid for row in tree.rows}:
                return 0  # somebody else is in it
            before = cgroup.held(scope)
            with suppress(Hung):  # it waits for a slow disk; what came back until now did
                await self._workers.do(f"reclaim {session.id}", lambda: cgroup.reclaim(scope))
            after = cgroup.held(scope)
            return max(before - after, 0) if after else 0  # it ended meanwhile

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
            await self._sweeps.sweep()

    def forget(self, process: PidRef) -> None:
        self._sweeps.forget(process)

    async def _pass(self) -> Table:
        """All processes now. The loop goes on meanwhile; what programs they are is read when first seen."""
        table = await asyncio.to_thread(Table.read)
        alive = {(row.pid, row.start_ticks) for row in table.rows.values()}
        self._sweeps.prune(alive)
        self._leaders.prune(alive)
        self._recogniser.prune(table)
        await self._recogniser.learn(table.rows.values())
        return table


def _home_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return os.path.expanduser("~") if uid == os.getuid() else "/nonexistent"
