"""The event log over real SQLite: order, filters, bounds, and what happens when it breaks."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from musterd.core.config import EventsConfig
from musterd.core.errors import Failed
from musterd.core.state import ClockMark
from musterd.core.suspend import Suspend
from musterd.host import eventlog
from musterd.host.eventlog import SqliteEventLog
from musterd.ports import EventLog, Record

SECOND = 1_000_000
DAY = 86400 * SECOND
NOW = 1_800_000_000 * SECOND


@dataclass
class FixedClock:
    at: int = NOW

    def now(self) -> int:
        return self.at

    def stepped(self) -> int:
        return 0

    def twice(self) -> tuple[int, int]:
        return (0, 0)

    def suspends(self) -> tuple[Suspend, ...]:
        return ()

    def mark(self) -> ClockMark:
        return ClockMark()

    def recall(self, mark: ClockMark) -> None:
        pass


@asynccontextmanager
async def opened(
    directory: Path, config: EventsConfig | None = None, clock: FixedClock | None = None
) -> AsyncIterator[SqliteEventLog]:
    (directory / "quarantine").mkdir(exist_ok=True)
    path, quarantine = str(directory / "events.db"), str(directory / "quarantine")
    log = SqliteEventLog(path, quarantine, config or EventsConfig(), clock or FixedClock())
    _: EventLog = log
    try:
        yield log
    finally:
        await log.close()


def event(number: int, kind: str = "state", session: str = "a", uid: int = 1000) -> Record:
    return Record(NOW + number, kind, session, uid, f"event {number}", {"number": number, "what": "ü\n"})


async def texts(log: SqliteEventLog, limit: int = 100) -> list[str]:
    return [record.text for _, record in await log.recent(limit)]


async def test_what_was_appended_is_there_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for number in range(3):
            log.append(event(number))
        rows = await log.recent(10)
        assert rows == [(3, event(2)), (2, event(1)), (1, event(0))]
    async with opened(tmp_path) as log:
        assert await log.recent(10) == rows
        log.append(event(3))
        assert (await log.recent(1)) == [(4, event(3))]
        assert log.health == ""


@pytest.mark.parametrize(
    ("case", "filters", "numbers"),
    [
        ("all", {}, [6, 5, 4, 3, 2, 1]),
        ("of a user", {"uid": 1001}, [6, 4, 2]),
        ("of root, who has none", {"uid": 0}, []),
        ("of a session", {"session": "b"}, [6, 5, 4]),
        ("of some kinds", {"kinds": ("ended", "reaped")}, [6, 3]),
        ("a page", {"before": 5, "after": 2}, [4, 3]),
        ("all at once", {"uid": 1001, "session": "b", "kinds": ["state"], "before": 6, "after": 1}, [4]),
        ("quotes are plain text", {"session": "' OR 1=1 --"}, []),
    ],
)
async def test_recent_filters(
    case: str, filters: dict[str, object], numbers: list[int], tmp_path: Path
) -> None:
    async with opened(tmp_path) as log:
        for number in range(6):
            kind = "ended" if number % 3 == 2 else "state"
            log.append(event(number, kind, "ab"[number // 3], 1000 + number % 2))
        rows = await log.recent(100, **filters)  # type: ignore[arg-type]  # the table says what fits
        assert [number for number, _ in rows] == numbers


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (-1, 0), (2, 2), (10**9, 5)])
async def test_recent_is_limited(
    limit: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "MAX_ROWS", 5)
    async with opened(tmp_path) as log:
        for number in range(8):
            log.append(event(number))
        assert len(await log.recent(limit)) == count


async def test_bytes_that_are_no_text_are_kept_as_escapes(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        log.append(Record(NOW, "ended", "a", 0, "in /srv/\udce9", {"cwd": "/srv/\udce9"}))
        ((_, record),) = await log.recent(1)
        assert (record.text, record.fields) == ("in /srv/\\udce9", {"cwd": "/srv/\udce9"})


async def test_each_record_is_told_as_well(tmp_path: Path) -> None:
    told: list[Record] = []
    log = SqliteEventLog(
        str(tmp_path / "events.db"), str(tmp_path), EventsConfig(), FixedClock(), told.append
    )
    log.append(event(1))
    await log.close()
    assert told == [event(1)]


async def test_a_flood_is_bounded_and_confessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "MAX_WAITING", 100)
    async with opened(tmp_path) as log, blocked(log):
        for number in range(250):
            log.append(event(number))
    async with opened(tmp_path) as log:
        rows = [record for _, record in await log.recent(1000)]
        assert rows[0].text.endswith(" events could not be kept")
        assert event(249) in rows
        assert len(rows) < 250


@asynccontextmanager
async def blocked(log: SqliteEventLog) -> AsyncIterator[None]:
    """Its thread waits meanwhile, as for a slow disk."""
    released = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    log._thread.submit(lambda: asyncio.run_coroutine_threadsafe(wait(released), loop).result())
    yield
    released.set_result(None)


async def wait(released: "asyncio.Future[None]") -> None:
    await released


async def test_a_burst_costs_few_commits(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.recent(1)
        statements: list[str] = []
        await on_thread(log, lambda db: db.set_trace_callback(statements.append))
        async with blocked(log):
            for number in range(1000):
                log.append(event(number))
        await log.recent(1)
        writes = [each for each in statements if each.startswith("BEGIN")]
        assert len(writes) <= 1 + 2 * (1 + 1000 // eventlog.TRIM_EVERY)


async def on_thread(log: SqliteEventLog, work: Callable[[sqlite3.Connection], None]) -> None:
    db = log._db._db
    assert db
    await asyncio.get_running_loop().run_in_executor(log._thread, work, db)


async def test_old_events_are_forgotten(tmp_path: Path) -> None:
    clock = FixedClock()
    async with opened(tmp_path, EventsConfig(keep=30 * 86400.0), clock) as log:
        for number in range(1000):
            log.append(Record(NOW - 31 * DAY + number, "state"))
        log.append(event(1))
        assert await log.recent(1000) == [(1001, event(1))]
        clock.at += 31 * DAY
        for number in range(eventlog.TRIM_EVERY + 1):
            log.append(Record(clock.at + number, "state"))
            await log.recent(1)
        assert (await log.recent(1000))[-1][0] == 1002


async def test_its_size_is_bounded_whatever_comes(tmp_path: Path) -> None:
    limit = 4 * 2**20
    async with opened(tmp_path, EventsConfig(max_size=limit)) as log:
        for _ in range(40):
            for number in range(500):
                log.append(Record(NOW, "state", "a", 1000, "x" * 1000, {"number": number}))
            rows = await log.recent(1)
            size = sum(status.st_size for status in files(tmp_path).values())
            assert size <= limit
        assert rows[0][0] == 20_000
        assert size > limit / 2
        assert log.health == ""


async def test_the_flood_of_one_user_washes_away_nothing_of_others(tmp_path: Path) -> None:
    limit = 4 * 2**20
    for daemon in range(2):  # the second counts what it finds
        async with opened(tmp_path, EventsConfig(max_size=limit)) as log:
            if daemon == 0:
                for number in range(300):
                    log.append(event(number, uid=1001))
                    log.append(event(number, kind="mode", uid=-1))
            for _ in range(20):
                for number in range(500):
                    log.append(Record(NOW, "registered", "a", 1000, "x" * 1000, {"number": number}))
                await log.recent(1)
                assert sum(status.st_size for status in files(tmp_path).values()) <= limit
            kept = [len(await log.recent(1000, uid=uid)) for uid in (1001, -1)]
            newest = [record.fields["number"] for _, record in await log.recent(500, uid=1000)]
        assert kept == [300, 300]
        assert newest == [*range(499, -1, -1)]


async def test_many_small_events_and_few_large_ones_share_its_size(tmp_path: Path) -> None:
    limit = 6 * 2**20
    async with opened(tmp_path, EventsConfig(max_size=limit)) as log:
        for number in range(25_000):
            log.append(event(number, uid=1000))
            if number % 1000 == 0:
                await log.recent(1)
        for _ in range(20):
            for _ in range(200):
                log.append(Record(NOW, "mode", uid=1001, text="x" * 4000))
            await log.recent(1)
            assert sum(status.st_size for status in files(tmp_path).values()) <= limit
        small, large = [len(await log.recent(1000, uid=uid)) for uid in (1000, 1001)]
    assert small == 1000  # of one answer
    assert 4000 * large > limit // 4


def files(directory: Path) -> dict[str, os.stat_result]:
    return {path.name: path.stat() for path in directory.glob("events.db*")}


def nonsense(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 100)


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribbled(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)


def from_the_future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE event")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_symlink(path: Path) -> None:
    os.rename(path, path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "spoil", [nonsense, half, scribbled, from_the_future, without_tables, a_directory, a_symlink]
)
async def test_a_broken_database_is_set_aside_and_told(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    async with opened(tmp_path) as log:
        for number in range(100):
            log.append(event(number))
    spoil(tmp_path / "events.db")
    async with opened(tmp_path) as log:
        log.append(event(1000))
        told, quarantined = await texts(log)
        assert (told, log.health) == ("event 1000", "")
        assert quarantined.startswith("The event log was moved to quarantine as 'events.db.")
    assert any(name.startswith("events.db.") for name in os.listdir(tmp_path / "quarantine"))


async def test_a_database_that_breaks_while_in_use_is_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for number in range(2000):
            log.append(event(number))
        assert len(await log.recent(1000)) == 1000
        await on_thread(log, lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").close())
        await on_thread(log, lambda db: db.execute("PRAGMA shrink_memory").close())
        scribbled(tmp_path / "events.db")
        assert (await texts(log))[0].startswith("The event log was moved to quarantine")
        log.append(event(1))
        assert (await texts(log))[0] == "event 1"


async def test_a_removed_database_is_begun_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        log.append(event(1))
        assert await texts(log) == ["event 1"]
        (tmp_path / "events.db").unlink()
        log.append(event(2))
        assert await texts(log) == ["event 2"]


async def test_others_cannot_read_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        log.append(event(1))
        await log.recent(1)
        modes = {name: status.st_mode & 0o777 for name, status in files(tmp_path).items()}
        assert modes == dict.fromkeys(("events.db", "events.db-wal", "events.db-shm"), 0o600)


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


async def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        async with opened(tmp_path) as log:
            log.append(event(0))
            await log.recent(1)
            ballast = tmp_path / "ballast"
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 512)
            for number in range(1, 100):
                log.append(event(number))
            assert await texts(log) == ["event 0"]
            assert log.health == f"cannot write '{tmp_path}/events.db': database or disk is full"
            await log.check()
            assert log.health
            ballast.unlink()
            await log.check()
            assert log.health == ""
            assert await texts(log, 1000) == [f"event {number}" for number in reversed(range(100))]


async def test_history_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "events.db"
    log = SqliteEventLog(str(path), str(tmp_path), EventsConfig(), FixedClock())
    log.append(event(1))
    with pytest.raises(Failed, match="No such file or directory"):
        await log.recent(1)
    assert "No such file or directory" in log.health
    await log.close()
    log.append(event(2))  # too late, and harmless


# Appends as fast as it can; prints a number once it can be read back.
WRITER = """
import asyncio, sys
from musterd.core.config import EventsConfig
from musterd.host.clock import HostClock
from musterd.host.eventlog import SqliteEventLog
from musterd.ports import Record

async def main():
    path, quarantine, clock = sys.argv[1] + "/events.db", sys.argv[1] + "/quarantine", HostClock()
    log = SqliteEventLog(path, quarantine, EventsConfig(), clock)
    while True:
        log.append(Record(clock.now(), "state"))
        ((number, _),) = await log.recent(1)
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("count", [1, 2, 3, 10, 50])
async def test_a_killed_writer_loses_nothing_that_could_be_read(count: int, tmp_path: Path) -> None:
    numbers = numbers_of_a_killed_writer(tmp_path, count)
    async with opened(tmp_path) as log:
        rows = await log.recent(1000)
    assert {int(number) for number in numbers} <= {number for number, _ in rows}
    assert os.listdir(tmp_path / "quarantine") == []


def numbers_of_a_killed_writer(directory: Path, count: int) -> list[str]:
    package = Path(eventlog.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-c", WRITER, str(directory)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        numbers = [writer.stdout.readline() for _ in range(count)]
        writer.kill()
        return numbers + writer.stdout.readlines()
