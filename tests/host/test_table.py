import asyncio
import os
import threading
from collections.abc import Collection, Iterator

import pytest

from helpers.programs import PATIENCE, Programs, shell, until
from musterd.agents.base import ProcessFacts
from musterd.core.session import PidRef
from musterd.host import process, table, workers
from musterd.host.process import Stat
from musterd.host.table import FactsCache, Table, usage_of


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as programs:
        yield programs


def row(pid: int, ppid: int, *, state: str = "S", start: int = 1) -> Stat:
    return Stat(pid, "x", state, ppid, 0, 0, 1, start, 1, 0)


def pids(rows: list[Stat]) -> set[int]:
    return {row.pid for row in rows}


def test_a_tree_is_all_that_runs_below() -> None:
    table = Table.of([row(1, 0), row(2, 1), row(3, 2), row(4, 3, state="Z"), row(5, 4), row(6, 1)])
    assert pids(table.descendants(2)) == {3, 5}
    assert [r.pid for r in table.ancestors(5)] == [5, 4, 3, 2, 1]


def test_a_table_that_was_read_while_pids_were_recycled_may_have_a_loop() -> None:
    table = Table.of([row(2, 3), row(3, 2)])
    assert [r.pid for r in table.ancestors(2)] == [2, 3]
    assert pids(table.descendants(2)) == {3}


def test_only_the_very_process_is_found() -> None:
    table = Table.of([row(2, 1, start=7), row(3, 1, state="Z", start=7)])
    assert table.find(PidRef(2, 7, "boot"))
    assert not table.find(PidRef(2, 8, "boot"))
    assert not table.find(PidRef(3, 7, "boot"))
    assert not table.find(PidRef(4, 7, "boot"))


def test_a_tool_in_a_session_of_its_own_is_still_below(programs: Programs) -> None:
    pid = programs.start(*shell("setsid sh -c 'echo $$; exec sleep 60' & wait"))
    tool = programs.adopt(int(programs.read_line(pid)))
    assert tool in pids(Table.read().descendants(pid))


def test_a_tool_that_forked_twice_is_not(programs: Programs) -> None:
    pid = programs.start(*shell("(setsid sh -c 'echo $$; exec sleep 60' & ) ; sleep 60"))
    tool = programs.adopt(int(programs.read_line(pid)))
    until(lambda: tool not in pids(Table.read().descendants(pid)), "it is nobody's child")
    assert tool in Table.read().rows


async def learned(cache: FactsCache, pid: int) -> ProcessFacts | None:
    row = Table.read().rows[pid]
    await cache.learn([row])
    return cache.get(row)


async def test_facts_are_read_anew_after_execve(programs: Programs) -> None:
    cache = FactsCache(("MARK",))
    pid = programs.start(*shell("read line; MARK=x exec cat"))
    while not (facts := await learned(cache, pid)) or facts.argv[:1] != ("sh",):
        pass
    programs.write_line(pid, "go")
    while not (facts := await learned(cache, pid)) or facts.comm != "cat" or not facts.argv:
        pass
    assert (facts.comm, facts.environ) == ("cat", {"MARK": "x"})


async def test_the_cache_forgets_what_ended(programs: Programs) -> None:
    cache = FactsCache(())
    pid = programs.start("sleep", "60")
    while not await learned(cache, pid):
        pass
    seen = Table.read().rows[pid]
    programs.end(pid)
    assert cache.get(seen)  # as it was
    cache.prune(Table.read())
    assert cache.get(seen) is None


async def test_one_whose_memory_cannot_be_read_holds_up_nobody(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel makes of a lock that somebody holds on it is played: a read that does not return."""
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    cache, freed = FactsCache(()), threading.Event()
    locked, other = (programs.start("sleep", "60") for _ in range(2))
    read = process.read_facts

    def read_or_wait(pid: int, environ: Collection[str] = ()) -> ProcessFacts:
        if pid == locked:
            freed.wait()
        return read(pid, environ)

    monkeypatch.setattr(table, "read_facts", read_or_wait)
    rows = [Table.read().rows[pid] for pid in (locked, other)]
    await cache.learn(rows)
    assert (cache.get(rows[0]), cache.get(rows[1]) is not None) == (None, True)
    assert await cache.aside(locked, lambda: "told", "silent") == "silent"
    freed.set()
    async with asyncio.timeout(PATIENCE):
        while not await learned(cache, locked):
            pass


def test_private_memory_is_what_a_process_filled(programs: Programs) -> None:
    size = 64 * 2**20
    pid = programs.start("python3", "-c", f"x = bytearray({size}); print(1, flush=True); input()")
    programs.read_line(pid)
    usage = usage_of([Table.read().rows[pid]])
    assert size <= usage.private < size + 32 * 2**20
    assert usage.memory >= usage.private
    assert (usage.tasks, usage.cpu_usec > 0) == (1, True)


def test_what_ended_meanwhile_costs_nothing(programs: Programs) -> None:
    pid = programs.start("sleep", "60")
    seen = Table.read().rows[pid]
    programs.end(pid)
    assert usage_of([seen]).memory == 0


def test_the_pass_starts_no_process(programs: Programs) -> None:
    """The children of this process are those of the test, before and after."""
    before = Table.read().descendants(os.getpid())
    assert pids(Table.read().descendants(os.getpid())) <= pids(before)
