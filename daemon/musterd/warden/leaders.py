"""Who leads a session, and what a leader tells of itself."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from musterd.agents.base import Adapter, ProcessFacts, Role
from musterd.core.errors import AccessDenied, Failed, NoSuchSession
from musterd.core.session import SESSION_MARK, Agent, PidRef, Session, SessionId
from musterd.host import cgroup
from musterd.host.locks import locked_files, open_files
from musterd.host.process import HeldProcess, Stat, boot_id, is_starting, read_stat
from musterd.host.table import Table
from musterd.host.terminal import Terminals
from musterd.host.workers import Workers
from musterd.warden.origin import environ_of
from musterd.warden.recognise import Found, Recogniser
from musterd.warden.visit import resolve
from musterd.warden_port import Leader

logger = logging.getLogger(__name__)

_FRESH = 10.0  # seconds for which what a leader told of itself is not asked again

_DESCRIBED_LIMIT = 2_000  # leaders of which that is remembered between two passes over all processes

_EXEC_LOOKS, _EXEC_PAUSE = 10, 0.01  # seconds


class Leaders:
    """Answers for one user's processes; `all_processes` is a pass over /proc."""

    def __init__(
        self,
        recogniser: Recogniser,
        terminals: Terminals,
        home: str,
        all_processes: Callable[[], Awaitable[Table]],
        workers: Workers,
    ) -> None:
        self._recogniser = recogniser
        self._terminals = terminals
        self._home = home
        self._all_processes = all_processes
        self._workers = workers
        self._described: dict[tuple[int, int], tuple[float, object, Leader]] = {}

    def prune(self, alive: Collection[tuple[int, int]]) -> None:
        """Forget all but these, by pid and start."""
        self._described = {key: told for key, told in self._described.items() if key in alive}

    async def leader(self, pid: int, agent: Agent | None) -> Leader:
        """As warden_port.Warden.leader."""
        with _held(pid) as asked:
            table = lineage_table(pid)
            row = table.rows.get(pid) or asked.stat
            await self._recogniser.learn([row, *table.rows.values()])
            if not self._recogniser.is_ours(row):
                raise AccessDenied(f"Process {pid} does not belong to user {self._recogniser.uid}.")
            found = None if agent is Agent.OTHER else self._recogniser.nearest(table, pid, agent)
            if (
                found is None
                and agent is not Agent.OTHER
                and self._recogniser.is_launched(table, pid, agent)
            ):
                # The leader is below the launcher: to find it takes all processes.
                table = await self._all_processes()
                found = self._recogniser.nearest(table, pid, agent)
            if found is None and agent is not None:
                facts = self._recogniser.facts.get(row)
                found = Found(row, facts, self._recogniser.adapter(agent)) if facts else None
            if found is None:
                raise NoSuchSession(f"Process {pid} belongs to no agent that is known.")
            return await self.describe(found, table, agent)

    def lineage(self, pid: int) -> Sequence[PidRef]:
        """As warden_port.Warden.lineage."""
        with _held(pid) as asked:
            lineage = [asked.ref]
            for row in list(lineage_table(pid).ancestors(pid))[1:]:
                try:
                    with HeldProcess(row.pid) as held:
                        lineage.append(held.ref)
                except ProcessLookupError:
                    break  # whose children are another's now; what is behind it is not ours to tell
            return lineage

    async def describe(self, found: Found, table: Table, agent: Agent | None = None) -> Leader:
        """Each hook asks for its leader: what was told a moment ago is told again."""
        key = found.row.pid, found.row.start_ticks
        at, image, leader = self._described.get(key, (0.0, None, None))
        is_fresh = image == found.row.image and time.monotonic() - at < _FRESH
        if leader is None or not is_fresh or agent not in (None, leader.agent):
            leader = await self._describe_anew(found, table, agent)
            while len(self._described) >= _DESCRIBED_LIMIT:
                del self._described[next(iter(self._described))]
            self._described[key] = time.monotonic(), found.row.image, leader
        return leader

    async def _describe_anew(self, found: Found, table: Table, agent: Agent | None) -> Leader:
        facts, adapter = await self._settled(found), found.adapter
        with _held(facts.pid) as held:
            if held.ref.start_ticks != facts.start_ticks:
                raise NoSuchSession(f"Process {facts.pid} has ended.")
            ancestors = {row.pid for row in table.ancestors(facts.pid)}
            starter = found.launcher.pid if found.launcher else facts.pid
            leader = Leader(
                process=held.ref,
                facts=facts,
                agent=agent or adapter.agent,
                launcher=ref_of(found.launcher) if found.launcher else None,
                version=await self._visit(facts.pid, lambda: self._recogniser.version(adapter, facts)),
                terminal=await self._terminals.locate(facts, ancestors),
                scope=cgroup.unit_of(facts.pid),
                agent_session_id=opened(adapter, facts.pid).session,
                environ=await self._recogniser.facts.aside(starter, lambda: environ_of(starter), ()),
                mark=self._mark_of(facts, table),
            )
            transcript = await self._visit(facts.pid, lambda: self._transcript_of(leader, adapter))
            return replace(leader, transcript=transcript)

    async def _visit(self, pid: int, work: Callable[[], str]) -> str:
        """What its files tell; "" if they do not answer."""
        try:
            return await self._workers.do(f"process {pid}", work)
        except OSError as exc:
            logger.debug("Files of process %d cannot be read: %s", pid, exc.strerror)
            return ""

    def _mark_of(self, facts: ProcessFacts, table: Table) -> str:
        """Whom it was started to bring back. An agent within that one has inherited the mark."""
        mark = facts.environ.get(SESSION_MARK, "")
        for row in list(table.ancestors(facts.pid))[1:] if mark else ():
            around = self._recogniser.facts.get(row)
            if around is None or around.environ.get(SESSION_MARK) != mark:
                break
            _, role = self._recogniser.role(row, table) or (None, None)
            if role is Role.LEADER:
                return ""
        return mark

    async def _settled(self, found: Found) -> ProcessFacts:
        """A program that is started this very moment has no arguments yet."""
        for _ in range(_EXEC_LOOKS):
            if not is_starting(found.facts):
                break
            await asyncio.sleep(_EXEC_PAUSE)
            await self._recogniser.learn([found.row])
            found = replace(found, facts=self._recogniser.facts.get(found.row) or found.facts)
        return found.facts

    def _transcript_of(self, leader: Leader, adapter: Adapter) -> str:
        place = adapter.transcript(_as_session(leader), self._home, leader.facts.environ)
        path = resolve(place) if isinstance(place, str) else None
        return path if path and os.path.lexists(path) else ""


def _held(pid: int) -> HeldProcess:
    try:
        return HeldProcess(pid)
    except ProcessLookupError as exc:
        raise NoSuchSession(f"There is no process {pid} (any more).") from exc
    except OSError as exc:
        raise Failed(f"Process {pid} cannot be looked at: {exc.strerror}.") from exc


def lineage_table(pid: int) -> Table:
    """A table of nothing but a process and its ancestors: a few reads instead of a pass over all."""
    rows: list[Stat] = []
    seen: set[int] = set()
    while pid > 0 and pid not in seen:
        seen.add(pid)
        try:
            rows.append(read_stat(pid))
        except (ProcessLookupError, ValueError):
            break
        pid = rows[-1].ppid
    return Table.of(rows)


def ref_of(row: Stat) -> PidRef:
    return PidRef(row.pid, row.start_ticks, boot_id())


@dataclass(frozen=True, slots=True)
class Opened:
    """What its adapter makes of the open files of a leader."""

    session: str
    transcripts: Mapping[str, str]


def opened(adapter: Adapter, pid: int) -> Opened:
    """By the names of its open files: the kernel has them at hand, and asks no file system for them."""
    files = open_files(pid)
    paths, locked = list(files.values()), locked_files(pid, files)
    return Opened(adapter.open_session(paths, locked), adapter.open_transcripts(paths, locked))


def _as_session(leader: Leader) -> Session:
    """What an adapter may ask of a session before it is one."""
    return Session(
        id=SessionId(""),
        agent=leader.agent,
        uid=leader.facts.uid,
        leader=leader.process,
        cwd=leader.facts.cwd,
        agent_session_id=leader.agent_session_id,
        terminal=leader.terminal,
        command=leader.facts.argv,
        version=leader.version,
        executable=leader.facts.executable,
        started_usec=leader.facts.start_usec,
    )
