"""The store over a real directory: whole files or none, oddities set aside, errors that say what to do."""

import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.builders import claim, session
from musterd.core.case import Mode
from musterd.core.errors import AlreadyRegistered, Failed, InvalidArgs
from musterd.core.inhibitor import Inhibitor, What
from musterd.core.inhibitor import Mode as Inhibition
from musterd.core.session import Session, SessionId
from musterd.core.state import Change, Modes
from musterd.host.statedir import MAX_FILE
from musterd.host.store import FileStore
from musterd.ports import Loaded, Store

A = session(id=SessionId("a"))
B = session(id=SessionId("b"), uid=0, title="second")
C = claim()


def inhibitor(number: int = 1, who: str = "vim") -> Inhibitor:
    return Inhibitor(number, frozenset({What.REAP}), who, "editing", Inhibition.BLOCK, 1000, 7, "a")


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[FileStore]:
    store = FileStore(str(path))
    _: Store = store
    try:
        yield store
    finally:
        await store.close()


async def loaded(path: Path) -> Loaded:
    async with opened(path) as store:
        return await store.load()


async def written(path: Path, *sessions: Session) -> None:
    async with opened(path) as store:
        for one in sessions:
            await store.create(one)


def quarantine(path: Path) -> list[str]:
    """What lies there, without the ending that makes names unique."""
    return sorted(name.rpartition(".")[0] for name in os.listdir(path / "quarantine"))


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    modes = Modes(Mode.OFF, Change(1000, 5, "a demo"), "it went wrong", (1, 2))
    async with opened(tmp_path) as store:
        assert await store.load() == Loaded([], Modes(), {})
        await store.create(A)
        await store.create(B)
        await store.save(replace(A, title="new"))
        await store.save_modes(modes)
        await store.create(session(id=SessionId("c")))
        await store.remove(SessionId("never-was"), SessionId("c"))
    assert await loaded(tmp_path) == Loaded([replace(A, title="new"), B], modes, {})


async def test_a_path_that_is_no_utf8_survives(tmp_path: Path) -> None:
    odd = replace(A, cwd="/srv/\udce9t\udce9")
    await written(tmp_path, odd)
    assert (await loaded(tmp_path)).sessions == [odd]


async def test_an_id_is_given_out_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create(A)
        with pytest.raises(AlreadyRegistered):
            await store.create(replace(A, title="thief"))
        assert (await store.load()).sessions == [A]
    assert os.listdir(tmp_path / "sessions") == ["a.toml"]


@pytest.mark.parametrize("name", ["", "../mode", "a/b", ".new-1", "x" * 200, "a\0"])
async def test_an_id_cannot_leave_the_directory(name: str, tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(InvalidArgs):
            await store.create(session(id=SessionId(name)))
        with pytest.raises(InvalidArgs):
            await store.remove(SessionId(name))


async def test_claims_survive_a_restart_until_they_are_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create_claim(C)
        with pytest.raises(AlreadyRegistered):
            await store.create_claim(C)
        await store.save_claim(replace(C, task="other"))
    assert (await loaded(tmp_path)).claims == [replace(C, task="other")]
    async with opened(tmp_path) as store:
        await store.remove_claim(C.id)
        await store.remove_claim(C.id)
    assert (await loaded(tmp_path)).claims == []


async def test_inhibitors_survive_a_restart_as_long_as_somebody_has_their_pipe(tmp_path: Path) -> None:
    kept, let_go, broken = inhibitor(number=1), inhibitor(number=2), inhibitor(number=3)
    async with opened(tmp_path) as store:
        pipes = [await store.create_pipe(each) for each in (kept, let_go, broken)]
        for pipe in pipes:
            os.close(pipe.read)
    os.close(pipes[1].write)
    (tmp_path / "inhibitors" / "3.toml").write_text("who knows")
    (tmp_path / "pipes" / "4").write_text("")
    found = await loaded(tmp_path)
    ((held, read),) = found.held
    assert (held, list(found.quarantined)) == (kept, ["3.toml"])
    assert (os.listdir(tmp_path / "inhibitors"), os.listdir(tmp_path / "pipes")) == (["1.toml"], ["1"])
    os.close(pipes[0].write)
    assert os.read(read, 1) == b""
    for fd in (read, pipes[2].write):
        os.close(fd)
    assert (await loaded(tmp_path)).held == []


async def test_who_has_written_into_a_pipe_holds_nothing_any_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        pipe = await store.create_pipe(inhibitor())
        os.write(pipe.write, b"x")
        assert (await store.load()).held == []
    for fd in pipe:
        os.close(fd)


async def test_a_pipe_that_is_removed_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        pipe = await store.create_pipe(inhibitor())
        await store.remove_pipe(1)
        await store.remove_pipe(1)
        assert (await store.load()).held == []
    for fd in pipe:
        os.close(fd)


async def test_an_inhibitor_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        before = os.listdir("/proc/self/fd")
        with file_size_limit(16), pytest.raises(Failed, match="Cannot write inhibitor '1'"):
            await store.create_pipe(inhibitor(who="vim" * 1000))
        assert len(os.listdir("/proc/self/fd")) == len(before)
    assert (os.listdir(tmp_path / "inhibitors"), os.listdir(tmp_path / "pipes")) == ([], [])


async def test_a_claim_that_does_not_parse_is_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create_claim(C)
    file = tmp_path / "claims" / "c1.toml"
    whole = file.read_text()
    (tmp_path / "claims" / "c2.toml").write_text(whole)  # says that it is another
    file.write_text(whole[: len(whole) // 2])
    found = await loaded(tmp_path)
    assert (found.claims, sorted(found.quarantined)) == ([], ["c1.toml", "c2.toml"])
    assert quarantine(tmp_path) == ["c1.toml", "c2.toml"]


async def test_others_cannot_read_it(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    await written(tmp_path / "state", A)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").rglob("*")}
    assert modes == {
        "sessions": 0o700, "claims": 0o700, "inhibitors": 0o700, "pipes": 0o700, "quarantine": 0o700,
        "a.toml": 0o600, "lock": 0o600,
    }  # fmt: skip
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


async def test_a_second_daemon_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(Failed, match=f"process {os.getpid()}"):
            FileStore(str(tmp_path))
    await loaded(tmp_path)


async def test_a_link_of_the_administrator_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "state").symlink_to("disk")
    await written(tmp_path / "state", A)
    assert (await loaded(tmp_path / "disk")).sessions == [A]


async def test_a_file_cut_off_anywhere_is_whole_or_set_aside(tmp_path: Path) -> None:
    await written(tmp_path, A, B)
    file = tmp_path / "sessions" / "a.toml"
    whole = file.read_bytes()
    async with opened(tmp_path) as store:
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            found = await store.load()
            assert (found.sessions, list(found.quarantined)) == ([B], ["a.toml"]), f"cut off at {size}"
    assert quarantine(tmp_path) == ["a.toml"] * len(whole)


async def test_modes_cut_off_anywhere_are_whole_or_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.save_modes(Modes(auto_disabled_reason="unclear"))
        file = tmp_path / "mode.toml"
        whole = file.read_bytes()
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            assert list((await store.load()).quarantined) == ["mode.toml"]


def make_symlink(path: Path) -> None:
    os.rename(path, path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "full").touch()


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (make_symlink, "cannot be opened: Too many levels of symbolic links"),
        (make_directory, "it is not a regular file"),
        (make_fifo, "it is not a regular file"),
        (lambda path: path.write_text(path.read_text().replace("= 1\n", "= 99\n")), "version"),
        (lambda path: path.write_bytes(b"\xff" * 100), "utf-8"),
        (lambda path: path.write_text("[" * 100_000 + "\n# end\n"), ""),
        (lambda path: path.write_text("x=" + "[" * 100_000 + "\n# end\n"), "recursion"),
        (lambda path: os.truncate(path, MAX_FILE + 1), f"more than {MAX_FILE}"),
        (lambda path: os.rename(path, path.with_name("b.toml")), "it holds session 'a'"),
        (lambda path: os.rename(path, path.with_name("notes.txt")), "it holds session 'a'"),
        *([(lambda path: os.chown(path, 65534, -1), "belongs to user 65534")] if os.getuid() == 0 else []),
    ],
)
async def test_an_odd_file_is_set_aside_and_told(
    spoil: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    await written(tmp_path, A, session(id=SessionId("z")))
    spoil(tmp_path / "sessions" / "a.toml")
    async with opened(tmp_path) as store:
        found = await store.load()
        assert [one.id for one in found.sessions] == ["z"]
        (told,) = found.quarantined.values()
        assert reason in told
        assert quarantine(tmp_path) == list(found.quarantined)
        assert (await store.load()).quarantined == {}
        await store.create(A)  # its name is free again


async def test_nothing_in_quarantine_is_overwritten(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for text in ("first", "second", "third"):
            (tmp_path / "sessions" / "a.toml").write_text(text)
            await store.load()
    texts = {path.read_text() for path in (tmp_path / "quarantine").iterdir()}
    assert texts == {"first", "second", "third"}


async def test_what_a_crash_left_under_way_is_removed(tmp_path: Path) -> None:
    await written(tmp_path, A)
    for directory in (tmp_path, tmp_path / "sessions", tmp_path / "claims"):
        (directory / ".new-0123456789abcdef").write_text("half a")
    assert await loaded(tmp_path) == Loaded([A], Modes(), {})
    assert sorted(os.listdir(tmp_path / "sessions")) == ["a.toml"]
    assert sorted(os.listdir(tmp_path)) == [
        "claims", "inhibitors", "lock", "pipes", "quarantine", "sessions",
    ]  # fmt: skip
    assert os.listdir(tmp_path / "claims") == []


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_write_that_fails_half_way_leaves_the_old_content(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create(A)
        with file_size_limit(10):
            for write in (store.save(replace(A, title="new")), store.create(B), store.save_modes(Modes())):
                with pytest.raises(Failed, match="File too large; raise the limit"):
                    await write
        assert await store.load() == Loaded([A], Modes(), {})
        await store.save(replace(A, title="new"))
    assert os.listdir(tmp_path / "sessions") == ["a.toml"]


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


async def test_a_full_disk_is_told_and_recovered_from(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=64k"):
        async with opened(tmp_path) as store:
            await store.create(A)
            ballast = tmp_path / "ballast"
            fill(ballast)
            for write in (store.check(), store.save(replace(A, title="new")), store.create(B)):
                with pytest.raises(Failed, match="No space left on device; make room on its file system"):
                    await write
        async with opened(tmp_path) as store:  # it starts nevertheless
            assert await store.load() == Loaded([A], Modes(), {})
            ballast.unlink()
            await store.check()
            await store.create(B)
        assert await loaded(tmp_path) == Loaded([A, B], Modes(), {})


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 512)


def remount_read_only(directory: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)


async def test_a_disk_that_turns_read_only_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=1m"):
        async with opened(tmp_path) as store:
            await store.create(A)
            (tmp_path / "sessions" / "odd.toml").write_text("odd")
            for fd in await store.create_pipe(inhibitor()):
                os.close(fd)
            remount_read_only(tmp_path)
            more = store.create_pipe(inhibitor(number=2)), store.remove_pipe(1)
            for write in (store.check(), store.save(A), store.create(B), store.remove(A.id), *more):
                with pytest.raises(Failed, match="Read-only file system; its file system must be mounted"):
                    await write
            found = await store.load()
            assert (found.sessions, found.held) == ([A], [])
            assert "cannot be moved to quarantine: Read-only" in found.quarantined["odd.toml"]
        assert (await loaded(tmp_path)).sessions == [A]  # it starts nevertheless


async def test_a_removed_directory_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path / "state") as store:
        await store.check()
        os.rename(tmp_path / "state", tmp_path / "gone")
        with pytest.raises(Failed, match="removed or replaced"):
            await store.check()


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("/tmp"), os.mkfifo])
def test_something_else_in_place_of_the_directory_is_refused(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "sessions")
    with pytest.raises(Failed, match=r"Cannot use the state directory .* stands in its place"):
        FileStore(str(tmp_path))


# Creates, changes and removes sessions as fast as it can, and prints each promise once it was given.
WRITER = """
import asyncio, itertools, sys
from dataclasses import replace
from musterd.core.session import Agent, Session, SessionId
from musterd.host.store import FileStore

async def main():
    store = FileStore(sys.argv[1])
    for number in itertools.count():
        session = Session(SessionId(f"s{number}"), Agent.CODEX, 1000, None, cwd="/srv/work" * 40)
        await store.create(session)
        print("created", session.id, flush=True)
        await store.save(replace(session, title="saved"))
        print("saved", session.id, flush=True)
        if number % 3 == 2:
            await store.remove(session.id)
            print("removed", session.id, flush=True)

asyncio.run(main())
"""


def promises_of_a_killed_writer(state: Path, count: int) -> list[str]:
    """Kill it after so many promises: at whatever it is at then."""
    package = Path(sys.modules[FileStore.__module__].__file__ or "").parents[2]
    command = [sys.executable, "-S", "-c", WRITER, str(state)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        promises = [writer.stdout.readline() for _ in range(count)]
        writer.kill()
        return promises + writer.stdout.readlines()


@pytest.mark.parametrize("count", range(1, 51))
async def test_a_killed_writer_keeps_its_promises(count: int, tmp_path: Path) -> None:
    promises = promises_of_a_killed_writer(tmp_path, count)
    last = {SessionId(name): promise for promise, name in map(str.split, promises)}
    found = await loaded(tmp_path)
    titles = {one.id: one.title for one in found.sessions}
    assert found.quarantined == {}
    # The one operation after the last promise may have been done, or not.
    under_way = promises[-1].split()[1]
    for name, promise in last.items():
        if promise == "removed":
            assert name not in titles
        elif name != under_way:
            assert titles[name] == "saved"
        elif promise == "created":
            assert titles[name] in ("", "saved")
        elif titles.get(name) != "saved":
            assert int(name[1:]) % 3 == 2  # its removal was under way
    assert len(titles) <= len(last) + 1
    assert os.listdir(tmp_path / "quarantine") == []
