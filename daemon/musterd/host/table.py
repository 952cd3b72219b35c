"""All processes in one pass over /proc: trees, leftovers, and what they cost."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from musterd.agents.base import ProcessFacts
from musterd.core.evidence import Usage
from musterd.core.session import PidRef
from musterd.host.process import Stat, is_starting, read_bytes, read_facts, read_stat

FACTS_LIMIT = 50_000  # processes of which facts are remembered between two passes

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Table:
    """The processes at one moment, by pid. Those that end while it is read may be missing."""

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


@dataclass(slots=True)
class FactsCache:
    """Facts are read once for each program that a process runs: execve(2) shows in the stat line."""

    environ: Collection[str]
    _facts: dict[int, tuple[tuple[int, int, str, int], ProcessFacts | None]] = field(default_factory=dict)

    def get(self, row: Stat) -> ProcessFacts | None:
        """None if it ended, or changed while it was looked at."""
        image, facts = self._facts.get(row.pid, (None, None))
        if image != row.image:
            try:
                facts = read_facts(row.pid, self.environ)
            except (ProcessLookupError, ValueError):
                return None  # not remembered: it may be in the middle of execve(2)
            if len(self._facts) >= FACTS_LIMIT:
                self._facts.clear()
            if not is_starting(facts):
                self._facts[row.pid] = (row.image, facts)
        return facts

    def prune(self, table: Table) -> None:
        for pid in self._facts.keys() - table.rows.keys():
            del self._facts[pid]


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
