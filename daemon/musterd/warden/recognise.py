"""Which processes are agents, and of which version: asks the adapters, and remembers what they answered."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from musterd.agents.base import Adapter, ProcessFacts, Role
from musterd.core.session import SESSION_MARK, Agent
from musterd.host.process import Stat
from musterd.host.table import FACTS_LIMIT, FactsCache, Table
from musterd.host.transcript import Unreadable, read_text
from musterd.warden.guard import Mistakes

_ENVIRON = ("TMUX", "TMUX_PANE")

_PACKAGE_LIMIT = 256 * 1024  # bytes of a package file in which the version must stand
_VERSIONS_LIMIT = 1000  # package files whose version is remembered


@dataclass(frozen=True, slots=True)
class Found:
    """A leader among the processes."""

    row: Stat
    facts: ProcessFacts
    adapter: Adapter
    launcher: Stat | None = None


class Recogniser:
    """Knows the adapters; remembers what each running program is."""

    def __init__(self, uid: int, adapters: Sequence[Adapter], mistakes: Mistakes | None = None) -> None:
        self.uid = uid
        self._mistakes = mistakes or Mistakes()
        self.adapters: Mapping[Agent, Adapter] = {adapter.agent: adapter for adapter in adapters}
        # Variables whose value can say which session, or which leader, a process comes from.
        self.marks = {
            SESSION_MARK,
            *(name for adapter in adapters for name in (*adapter.environ, *adapter.marks)),
        }
        self.facts = FactsCache({*_ENVIRON, *self.marks})
        self._roles: dict[int, tuple[object, tuple[Adapter, Role] | None]] = {}
        self._versions: dict[_Stamp, str] = {}

    def adapter(self, agent: Agent) -> Adapter:
        return self.adapters.get(agent, _UNKNOWN)

    def prune(self, table: Table) -> None:
        self.facts.prune(table)
        for pid in self._roles.keys() - table.rows.keys():
            del self._roles[pid]

    async def learn(self, rows: Iterable[Stat]) -> None:
        """What they run, as far as they may be ours: whatever is asked of them takes that to be known."""
        await self.facts.learn(row for row in rows if row.owner == self.uid or _may_be_of_anybody(row))

    def is_ours(self, row: Stat) -> bool:
        """Whether it belongs to our user. Programs that forbid core dumps have /proc files of root's."""
        if row.owner != _ROOT:
            return row.owner == self.uid
        facts = self.facts.get(row)
        return facts is not None and facts.uid == self.uid

    def all(self, table: Table) -> Iterator[Found]:
        """Every leader that is ours."""
        for row in table.rows.values():
            if row.has_ended or not self.is_ours(row):
                continue
            known = self.role(row, table)
            if known and known[1] is Role.LEADER and (found := self._found(row, known[0], table)):
                yield found

    def nearest(self, table: Table, pid: int, agent: Agent | None) -> Found | None:
        """The leader that a process belongs to. A launcher stands for the leader below it."""
        for row in table.ancestors(pid):
            if not self.is_ours(row):
                return None
            adapter, role = self.role(row, table) or (None, None)
            if adapter is None or agent not in (None, adapter.agent):
                continue
            if role is Role.LEADER:
                return self._found(row, adapter, table)
            if below := self._below(row, adapter, table):
                return below
        return None

    def is_launched(self, table: Table, pid: int, agent: Agent | None) -> bool:
        """Whether it or an ancestor is a launcher: then there may be a leader that is no ancestor."""
        for row in table.ancestors(pid):
            if not self.is_ours(row):
                return False
            adapter, role = self.role(row, table) or (None, None)
            if adapter and role is Role.LAUNCHER and agent in (None, adapter.agent):
                return True
        return False

    def role(self, row: Stat, table: Table) -> tuple[Adapter, Role] | None:
        parent = table.rows.get(row.ppid)
        key = (row.image, parent.image if parent else None)
        known = self._roles.get(row.pid)
        if known and known[0] == key:
            return known[1]
        facts = self.facts.get(row)
        if facts is None:
            return None
        parent_facts = self.facts.get(parent) if parent else None
        role = self._ask(row, facts, parent, parent_facts)
        if len(self._roles) >= FACTS_LIMIT:
            self._roles.clear()
        self._roles[row.pid] = key, role
        return role

    def _ask(
        self, row: Stat, facts: ProcessFacts, parent: Stat | None, parent_facts: ProcessFacts | None
    ) -> tuple[Adapter, Role] | None:
        if parent and parent_facts and _is_mere_fork(row, facts, parent, parent_facts):
            return None
        for adapter in self.adapters.values():
            try:
                role = adapter.role(facts, parent_facts)
            except Exception as exc:  # noqa: BLE001 - it must not keep the others from knowing theirs
                self._mistakes.why(adapter, exc)
                continue
            if role:
                return adapter, role
        return None

    def _found(self, row: Stat, adapter: Adapter, table: Table) -> Found | None:
        facts = self.facts.get(row)
        return Found(row, facts, adapter, self.launcher(row, adapter, table)) if facts else None

    def launcher(self, row: Stat, adapter: Adapter, table: Table) -> Stat | None:
        parent = table.rows.get(row.ppid)
        known = self.role(parent, table) if parent and self.is_ours(parent) else None
        return parent if known == (adapter, Role.LAUNCHER) else None

    def _below(self, launcher: Stat, adapter: Adapter, table: Table) -> Found | None:
        for pid in table.children(launcher.pid):
            if self.role(table.rows[pid], table) == (adapter, Role.LEADER):
                return self._found(table.rows[pid], adapter, table)
        return None

    def version(self, adapter: Adapter, facts: ProcessFacts) -> str:
        """From the first of its package's files that tells; "" if none does."""
        for path in adapter.package_files(facts):
            try:
                stamp = _stamp(path)
                if stamp.changed > facts.start_usec:
                    continue  # an upgrade: the process still runs what was there before
                if stamp not in self._versions:
                    text = read_text(path, None, _PACKAGE_LIMIT)
                    if _stamp(path) != stamp:
                        continue
                    self._remember(stamp, adapter.version(text))
                return self._versions[stamp]
            except (OSError, Unreadable, ValueError):
                continue
        return ""

    def _remember(self, stamp: "_Stamp", version: str) -> None:
        while len(self._versions) >= _VERSIONS_LIMIT:
            del self._versions[next(iter(self._versions))]
        self._versions[stamp] = version


class _Stamp(NamedTuple):
    """A file as it is on disk; unlike its `mtime`, a package cannot bring the time of its change along."""

    path: str
    device: int
    inode: int
    changed: int  # ctime, realtime µs


def _stamp(path: str) -> _Stamp:
    status = os.stat(path)
    return _Stamp(path, status.st_dev, status.st_ino, status.st_ctime_ns // 1000)


_UNKNOWN = Adapter()
_ROOT = 0
_KTHREADD = 2  # parent of all kernel threads (pthreads(7) has none of them in user space)


def _may_be_of_anybody(row: Stat) -> bool:
    return row.owner == _ROOT and row.ppid != _KTHREADD


def _is_mere_fork(row: Stat, facts: ProcessFacts, parent: Stat, parent_facts: ProcessFacts) -> bool:
    """A child between fork(2) and execve(2) looks just like the agent that made it."""
    return (row.stack, facts.argv, facts.executable) == (
        parent.stack,
        parent_facts.argv,
        parent_facts.executable,
    )
