"""What the kernel takes back from a scope: plain files stand for what not every machine has in cgroup v2."""

import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from helpers import wait
from helpers.scribe import Scene, scene
from musterd.core.session import Session
from musterd.host import cgroup, workers

MIB = 1024 * 1024


@asynccontextmanager
async def in_scope(
    home: Path, monkeypatch: pytest.MonkeyPatch, *held: int
) -> AsyncIterator[tuple[Scene, Session, Path]]:
    """A session, in a scope that holds so many bytes, each time it is asked; and then as many as at last."""
    amounts = iter(held)
    async with scene(home) as here:
        session = await here.session(here.start())
        monkeypatch.setattr(cgroup, "scope_of", lambda _pid: str(home / "scope"))
        monkeypatch.setattr(cgroup, "held", lambda _scope: next(amounts, held[-1]))
        yield here, session, home / "scope"


async def test_what_came_back_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_scope(tmp_path, monkeypatch, 300 * MIB, 40 * MIB) as (here, session, scope):
        write(scope, "memory.reclaim", "")
        assert await here.warden.reclaim(session) == 260 * MIB


async def test_nothing_comes_back_where_somebody_else_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_scope(tmp_path, monkeypatch, 300 * MIB, 40 * MIB) as (here, session, scope):
        write(scope, "memory.reclaim", "")
        write(scope, "cgroup.procs", "1\n")
        assert await here.warden.reclaim(session) == 0
        assert (scope / "memory.reclaim").read_text() == ""


async def test_one_that_ended_meanwhile_has_given_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_scope(tmp_path, monkeypatch, 300 * MIB, 0) as (here, session, _):
        assert await here.warden.reclaim(session) == 0


async def test_what_came_back_counts_though_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_scope(tmp_path, monkeypatch, 300 * MIB, 40 * MIB) as (here, session, scope):
        monkeypatch.setattr(workers, "PATIENCE", 0.5)
        async with slow_disk(scope) as was_asked:
            assert await here.warden.reclaim(session) == 260 * MIB
            await was_asked()


def write(scope: Path, name: str, text: str) -> None:
    scope.mkdir(exist_ok=True)
    (scope / name).write_text(text)


@asynccontextmanager
async def slow_disk(scope: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """What is written to memory.reclaim waits until the block ends -> waits until it was opened for that."""
    pipe = _pipe(scope)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _fill(pipe)
        events = select.poll()
        events.register(reader, 0)  # what is told then: nobody has it open to write (any more)
        yield lambda: wait.until(lambda: not events.poll(0))
        await wait.until(lambda: not _drain(reader) and events.poll(0))
    finally:
        os.close(reader)


def _pipe(scope: Path) -> Path:
    scope.mkdir()
    os.mkfifo(scope / "memory.reclaim")
    return scope / "memory.reclaim"


def _fill(pipe: Path) -> None:
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"-")
    os.close(writer)


def _drain(reader: int) -> bytes:
    """What there was."""
    try:
        return os.read(reader, MIB)
    except BlockingIOError:
        return b""
