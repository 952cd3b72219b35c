"""All processes in one pass over /proc: trees, leftovers, and what they cost."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from musterd.agents.base import ProcessFacts
from musterd.core.evidence import Usage
from musterd.core.session import PidRef
from musterd.host.process import Stat, is_shortage, is_starting, read_bytes, read_facts, read_stat
from musterd.host.workers import Hung, Workers

FACTS_LIMIT = 50_000  # processes of which facts are remembered between two passes

Result = TypeVar("Result")

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Table:
    """The processes at one moment, by pid. Those that end while it is read may be missing.

    It is read from stat lines only, for which the kernel waits for no process.
    """

    rows: Mapping[int, Stat]
    _children: Mapping[int, Sequence[int]]

    @classmethod
    def read(cls) -> "Table":
        rows = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(ProcessLookupError, ValueError):
                    rows[int(name)] = read_stat(name)
        return cls.of(rows.values())

    @classmethod
    def of(cls, rows: Iterable[Stat]) -> "Table":
        children: dict[int, list[int]] = {}
        for row in (by_pid := {row.pid: row for row in rows}).values():
            children.setdefault(row.ppid, []).append(row.pid)
        return cls(by_pid, children)

    def find(self, process: PidRef) -> Stat | None:
        """The row of that very process, unless it has ended."""
        row = self.rows.get(process.pid)
        if row is None or row.start_ticks != process.start_ticks or row.has_ended:
            return None
        return row

    def children(self, pid: int) -> Sequence[int]:
        return self._children.get(pid, ())

    def ancestors(self, pid: int) -> Iterator[Stat]:
        """The process and its ancestors, nearest first."""
        seen: set[int] = set()
        while pid not in seen and (row := self.rows.get(pid)):
            seen.add(pid)
            yield row
            pid = row.ppid

    def descendants(self, pid: int) -> list[Stat]:
        """All below it that run. Its shell tools are session leaders of their own, but still below it."""
        found: list[Stat] = []
        seen, queue = {pid}, list(self.children(pid))
        while queue:
            if (child := queue.pop()) in seen:
                continue
            seen.add(child)
            queue += self.children(child)
            if not self.rows[child].has_ended:
                found.append(self.rows[child])
        return found


@dataclass(frozen=True, slots=True)
class _Known:
    image: tuple[int, int, str, int]
    facts: ProcessFacts


@dataclass(slots=True)
class FactsCache:
    """Facts are read once for each program that a process runs: execve(2) shows in the stat line.

    Reading them may hang: arguments and environment are in the memory of that process, which may be locked
    (mmap_lock), or on a device that does not answer. So `get` reads nothing, and `learn` does it aside.
    """

    environ: Collection[str]
    _workers: Workers = field(default_factory=Workers)
    _known: dict[int, _Known] = field(default_factory=dict)

    def get(self, row: Stat) -> ProcessFacts | None:
        """As they were learned; None if it ended, changed while it was looked at, or cannot be read."""
        known = self._known.get(row.pid)
        return known.facts if known and known.image == row.image else None

    async def learn(self, rows: Iterable[Stat]) -> None:
        """Read what is not known yet. OSError if we lack fds or memory."""
        new = {f"process {row.pid}": row for row in rows if self._is_new(row)}
        found = await self._workers.each((key, partial(self._read, row)) for key, row in new.items())
        for key, row in new.items():
            self._take(row, found[key])

    def _is_new(self, row: Stat) -> bool:
        facts = self.get(row)
        return facts is None or is_starting(facts)

    def _read(self, row: Stat) -> ProcessFacts:
        return read_facts(row.pid, self.environ)

    def _take(self, row: Stat, found: ProcessFacts | Exception) -> None:
        if isinstance(found, OSError) and is_shortage(found):
            raise found
        self._known.pop(row.pid, None)
        if isinstance(found, Exception):
            return  # not remembered: it may be in the middle of execve(2)
        if len(self._known) >= FACTS_LIMIT:
            self._known.clear()
        self._known[row.pid] = _Known(row.image, found)

    async def aside(self, pid: int, work: Callable[[], Result], otherwise: Result) -> Result:
        """Read something else of the memory of that process; `otherwise` if it does not answer."""
        try:
            return await self._workers.do(f"process {pid}", work)
        except Hung:
            return otherwise

    def prune(self, table: Table) -> None:
        for pid in self._known.keys() - table.rows.keys():
            del self._known[pid]


def usage_of(rows: Sequence[Stat]) -> Usage:
    """What these processes cost, by /proc/PID/statm: resident, and of that what is backed by no file.

    Not by smaps_rollup: it divides shared pages, but walks every page table (about a hundred times the
    time), too slow for a look at all sessions while memory is short. Pages shared by fork(2) count in each.
    """
    memory = private = cpu = tasks = 0
    for row in rows:
        with suppress(OSError, ValueError, IndexError):
            field = read_bytes(f"/proc/{row.pid}/statm", 256).split()
            memory += int(field[1]) * PAGE
            private += max(int(field[1]) - int(field[2]), 0) * PAGE
        cpu += row.cpu_usec
        tasks += row.tasks
    return Usage(memory, private, cpu, tasks)
