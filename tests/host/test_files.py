"""Real inotify: files that come, change, are replaced and vanish, with their directories."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.wait import until
from musterd.host import workers
from musterd.host.files import CHANGED, OPENED, Files
from musterd.host.inotify import Inotify, Mask, Notice, parse_notices


class Bell:
    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        self.rung.set()

    async def rings(self) -> None:
        await self.rung.wait()
        self.rung.clear()


@asynccontextmanager
async def watching(path: Path, mask: int = CHANGED, *, is_pattern: bool = False) -> AsyncIterator[Bell]:
    files, bell = Files(), Bell()
    files.subscribe(str(path), bell, mask, is_pattern=is_pattern)
    try:
        yield bell
    finally:
        files.close()


async def settled() -> None:
    """All that inotify has queued is read: it is read once in each turn of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    async with watching(tmp_path / "a") as bell:
        (tmp_path / "a").write_text("y")
        await bell.rings()


async def test_another_file_in_the_directory_is_nobodys_business(tmp_path: Path) -> None:
    async with watching(tmp_path / "a") as bell:
        (tmp_path / "b").write_text("y")
        await settled()
        assert bell.count == 0


async def test_a_file_that_does_not_exist_yet_is_told_when_it_comes(tmp_path: Path) -> None:
    async with watching(tmp_path / "a") as bell:
        (tmp_path / "a").touch()
        await bell.rings()


async def test_a_file_that_is_replaced_by_rename_is_still_watched(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    async with watching(tmp_path / "a") as bell:
        for _ in range(3):
            (tmp_path / "new").write_text("y")
            (tmp_path / "new").rename(tmp_path / "a")
            await bell.rings()
            await settled()
            bell.rung.clear()
        (tmp_path / "a").write_text("z")
        await bell.rings()


async def test_a_directory_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    async with watching(tmp_path / "one" / "two" / "three" / "a") as bell:
        (tmp_path / "one").mkdir()
        await settled()
        (tmp_path / "one" / "two" / "three").mkdir(parents=True)
        (tmp_path / "one" / "two" / "three" / "a").touch()
        await bell.rings()
        await settled()
        bell.rung.clear()
        (tmp_path / "one" / "two" / "three" / "a").write_text("x")
        await bell.rings()


async def test_directories_made_in_one_go_are_not_missed(tmp_path: Path) -> None:
    async with watching(tmp_path / "one" / "two" / "a") as bell:
        (tmp_path / "one" / "two").mkdir(parents=True)
        (tmp_path / "one" / "two" / "a").write_text("x")
        await bell.rings()


async def test_a_directory_that_is_deleted_and_made_again_is_watched_again(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").touch()
    async with watching(folder / "a") as bell:
        (folder / "a").unlink()
        folder.rmdir()
        await bell.rings()
        await settled()
        bell.rung.clear()
        folder.mkdir()
        (folder / "a").touch()
        await bell.rings()
        await settled()
        bell.rung.clear()
        (folder / "a").write_text("x")
        await bell.rings()


async def test_a_directory_that_comes_back_and_does_not_answer_is_named_to_nobody_but_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, released, threads, named = str(tmp_path / "far"), threading.Event(), list[str](), list[str]()
    look, add = os.path.exists, Inotify.add

    def exists(path: str) -> bool:
        if path == hangs:
            threads.append(threading.current_thread().name)
            released.wait()
        return look(path)

    def watch(inotify: Inotify, directory: str, mask: int) -> int:
        named.append(directory)
        return add(inotify, directory, mask)

    monkeypatch.setattr(workers, "PATIENCE", 0.05)
    monkeypatch.setattr("musterd.host.files.AGAIN", 0.01)
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    async with watching(tmp_path / "far/a") as far, watching(tmp_path / "near/a") as near:
        monkeypatch.setattr(os.path, "exists", exists)
        monkeypatch.setattr(Inotify, "add", watch)
        try:
            (tmp_path / "far").rename(tmp_path / "away")
            await until(lambda: threads)
            (tmp_path / "far").mkdir()
            (tmp_path / "near/a").touch()
            await near.rings()
            assert (named, far.count) == ([], 0)
        finally:
            released.set()
        await far.rings()
        (tmp_path / "far/a").touch()
        await far.rings()
    assert set(threads) == {"visit"}


async def test_a_directory_that_moves_away_takes_its_watch_along_no_more(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    async with watching(folder / "a") as bell:
        folder.rename(other)
        await bell.rings()
        await settled()
        bell.rung.clear()
        count = bell.count
        (other / "a").touch()
        await settled()
        assert bell.count == count
        folder.mkdir()
        (folder / "a").touch()
        await bell.rings()


async def test_patterns_are_of_names(tmp_path: Path) -> None:
    async with watching(tmp_path / "*.lock", is_pattern=True) as bell:
        (tmp_path / "x").touch()
        await settled()
        assert bell.count == 0
        (tmp_path / "x.lock").touch()
        await bell.rings()


async def test_a_name_with_brackets_is_just_a_name(tmp_path: Path) -> None:
    async with watching(tmp_path / "[a]*") as bell:
        (tmp_path / "a").touch()
        await settled()
        assert bell.count == 0
        (tmp_path / "[a]*").touch()
        await bell.rings()


async def test_opening_is_told_only_to_those_who_asked(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    files, opened, changed = Files(), Bell(), Bell()
    files.subscribe(str(tmp_path / "a"), opened, OPENED)
    files.subscribe(str(tmp_path / "a"), changed, CHANGED)
    (tmp_path / "a").read_text()
    await opened.rings()
    assert changed.count == 0
    files.close()


async def test_two_paths_to_one_directory_both_hear(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    files, one, other = Files(), Bell(), Bell()
    files.subscribe(str(tmp_path / "real" / "a"), one)
    subscription = files.subscribe(str(tmp_path / "link" / "a"), other)
    (tmp_path / "real" / "a").touch()
    await one.rings()
    await other.rings()
    files.unsubscribe(subscription)
    (tmp_path / "real" / "a").write_text("x")
    await one.rings()
    files.close()


async def test_who_left_hears_nothing(tmp_path: Path) -> None:
    files, bell = Files(), Bell()
    subscriptions = [files.subscribe(str(tmp_path / name), bell) for name in ("a", "no/such/a")]
    for subscription in subscriptions:
        files.unsubscribe(subscription)
        files.unsubscribe(subscription)
    (tmp_path / "no" / "such").mkdir(parents=True)
    (tmp_path / "a").touch()
    await settled()
    assert bell.count == 0
    files.close()


async def test_a_directory_that_we_may_not_read_is_no_endless_loop(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    files, bell = Files(), Bell()
    files.subscribe(str(tmp_path / "file" / "a"), bell)
    files.subscribe(str(tmp_path / "loop" / "a"), bell)
    assert bell.count == 0
    (tmp_path / "file").unlink()
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "a").touch()
    await bell.rings()
    files.close()


def queue_limit() -> int:
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


async def test_after_an_overflow_everybody_is_told_to_look(tmp_path: Path) -> None:
    """The queue holds fs.inotify.max_queued_events: while the loop is busy, more can happen."""
    limit = queue_limit()
    (tmp_path / "busy").mkdir()
    (tmp_path / "quiet").mkdir()
    files, bell = Files(), Bell()
    files.subscribe(str(tmp_path / "busy" / "a"), lambda: None)
    files.subscribe(str(tmp_path / "quiet" / "a"), bell)
    for number in range(limit // 2 + 1):  # two events each that differ from the one before
        os.close(os.open(tmp_path / "busy" / f"{number % 2}", os.O_CREAT | os.O_WRONLY))
        (tmp_path / "busy" / f"{number % 2}").unlink()
    (tmp_path / "quiet" / "a").touch()  # of this one, nothing comes
    await bell.rings()
    await settled()
    while bell.rung.is_set():
        bell.rung.clear()
        await settled()
    (tmp_path / "quiet" / "a").write_text("x")
    await bell.rings()
    files.close()


async def test_one_turn_of_the_loop_reads_a_bounded_part_of_a_storm(tmp_path: Path) -> None:
    notices: list[Notice] = []
    inotify = Inotify(notices.append)
    inotify.add(str(tmp_path), Mask.CREATE)
    for number in range(4000):
        (tmp_path / f"{number:04}").touch()
    seen = [0]
    while seen[-1] < 4000:
        await asyncio.sleep(0)
        if len(notices) > seen[-1]:
            seen.append(len(notices))
    assert len(seen) > 2
    inotify.close()


def test_names_are_bytes_to_the_kernel() -> None:
    data = b"\x01\0\0\0" + b"\0\x01\0\0" + b"\0\0\0\0" + b"\x10\0\0\0" + b"\xff.json".ljust(16, b"\0")
    assert parse_notices(data) == [Notice(1, Mask.CREATE, os.fsdecode(b"\xff.json"))]
