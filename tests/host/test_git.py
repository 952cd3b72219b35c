"""Uncommitted work is counted, and a repository cannot make us run anything."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from helpers.repository import Repository
from musterd.host import git
from musterd.host.git import Untold, count_others, drivers_of, uncommitted
from musterd.host.programs import ask

UID, NOBODY = os.getuid(), 65534


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return Repository(tmp_path / "project")


def change(here: Repository) -> None:
    here.write("kept", "changed since\n")


def add(here: Repository) -> None:
    here.write("new", "")


def stage(here: Repository) -> None:
    change(here)
    here.git("add", "kept")


def ignore(here: Repository) -> None:
    here.write(".git/info/exclude", "new\n")
    add(here)


def fill(here: Repository) -> None:
    change(here)
    for name in "abc":
        here.write(f"directory/{name}", "")
    here.write("other", "")


@pytest.mark.parametrize(
    ("case", "do", "files"),
    [
        ("all is committed", lambda _: None, 0),
        ("changed", change, 1),
        ("new", add, 1),
        ("staged", stage, 1),
        ("removed", lambda here: (here.path / "kept").unlink(), 1),
        ("a directory of new files counts once", fill, 3),
        ("ignored", ignore, 0),
    ],
)
async def test_changes_are_counted(
    repository: Repository, case: str, do: Callable[[Repository], object], files: int
) -> None:
    do(repository)
    assert await uncommitted(str(repository.path), UID) == files, case


async def test_all_of_a_repository_counts_wherever_in_it_one_is(repository: Repository) -> None:
    change(repository)
    repository.write("below/committed", "")
    assert await uncommitted(str(repository.path / "below"), UID) == 2


async def test_a_repository_without_a_commit_has_only_uncommitted_files(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.git("update-ref", "-d", "HEAD")
    assert await uncommitted(str(tmp_path), UID) == 1


async def test_where_there_is_no_repository_there_is_no_number(tmp_path: Path) -> None:
    assert await uncommitted(str(tmp_path), UID) is None


async def test_very_many_are_at_least_some(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "OUTPUT_LIMIT", 3000)
    for number in range(1000):
        repository.write(f"{number:040}", "")
    assert 50 < (await uncommitted(str(repository.path), UID) or 0) < 1000


@pytest.mark.parametrize(
    ("case", "spoil", "why"),
    [
        ("no such directory", lambda here: shutil.rmtree(here.path), "cannot change to"),
        ("unreadable configuration", lambda here: here.write(".git/config", "[core"), "bad config"),
        ("no index", lambda here: here.write(".git/index", "nonsense"), "git refuses"),
        ("of a later git", lambda here: here.git("config", "core.repositoryformatversion", "9"), "9"),
        ("too many filters", lambda here: here.write(".git/config", many_filters()), "more settings"),
    ],
)
async def test_what_git_cannot_tell_is_no_zero(
    repository: Repository, case: str, spoil: Callable[[Repository], object], why: str
) -> None:
    spoil(repository)
    with pytest.raises(Untold, match=why):
        await uncommitted(str(repository.path), UID)


def many_filters() -> str:
    return "".join(f'[filter "f{number}"]\nclean = false\n' for number in range(101))


async def test_without_git_nothing_is_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository.path))
    with pytest.raises(Untold, match="git cannot be run"):
        await uncommitted(str(repository.path), UID)


async def test_a_git_that_hangs_is_ended_with_its_deadline(repository: Repository) -> None:
    os.mkfifo(repository.path / "endless")
    repository.git("config", "include.path", str(repository.path / "endless"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await uncommitted(str(repository.path), UID)


async def test_looking_writes_nothing(repository: Repository) -> None:
    index = repository.path / ".git" / "index"
    os.utime(repository.path / "kept", (1, 1))
    before = index.read_bytes()
    assert await uncommitted(str(repository.path), UID) == 0
    assert index.read_bytes() == before


# What a repository would like to run. Each is seen to run where git is asked without care.


def monitor(here: Repository, trap: str) -> None:
    here.git("config", "core.fsmonitor", trap)


def hook(here: Repository, trap: str) -> None:
    shutil.copy(trap, here.path / ".git/hooks/post-index-change")
    os.utime(here.path / "kept", (1, 1))


def hooks_elsewhere(here: Repository, trap: str) -> None:
    (here.path / "hooks").mkdir()
    shutil.copy(trap, here.path / "hooks/post-index-change")
    here.git("config", "core.hooksPath", str(here.path / "hooks"))
    os.utime(here.path / "kept", (1, 1))


def clean(here: Repository, trap: str, key: str = "clean", where: str = ".gitattributes") -> None:
    here.write(where, "* filter=a.b=c\n")
    here.git("config", f"filter.a.b=c.{key}", trap)
    here.write("kept", "as cOmmitted\n")  # of the same size, so that git has to read it


def process(here: Repository, trap: str) -> None:
    clean(here, trap, "process")


def hidden(here: Repository, trap: str) -> None:
    clean(here, trap, where=".git/info/attributes")


def included(here: Repository, trap: str) -> None:
    clean(here, trap, "smudge")
    other = here.write("more", f'[filter "a.b=c"]\nclean = {trap}\nrequired = true\n')
    here.git("config", "includeIf.onbranch:**.path", str(other))


def inner(here: Repository, trap: str) -> None:
    below = Repository(here.path / "below")
    here.git("add", "below")
    monitor(below, trap)


def fetch(here: Repository, trap: str) -> None:
    """An object that is missing, and said to be had from a program."""
    here.git("config", "extensions.partialClone", "origin")
    here.git("config", "core.repositoryformatversion", "1")
    here.git("config", "remote.origin.promisor", "true")
    here.git("config", "remote.origin.url", f"ext::{trap}")
    here.git("config", "protocol.ext.allow", "always")
    tree = here.git("rev-parse", "HEAD^{tree}").strip()
    (here.path / ".git/objects" / tree[:2] / tree[2:]).unlink()


TRAPS = [monitor, hook, hooks_elsewhere, clean, process, hidden, included, inner, fetch]


@pytest.fixture
def trap(tmp_path: Path) -> str:
    path = tmp_path / "trap"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\nexit 1\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("set_trap", TRAPS)
async def test_nothing_that_a_repository_names_is_run(
    repository: Repository, trap: str, set_trap: Callable[[Repository, str], None]
) -> None:
    set_trap(repository, trap)
    with suppress(Untold):  # is as good
        await uncommitted(str(repository.path), UID)
    assert not Path(trap).with_name("sprung").exists()


@pytest.mark.parametrize("set_trap", TRAPS)
def test_the_traps_are_good(
    repository: Repository, trap: str, set_trap: Callable[[Repository, str], None]
) -> None:
    set_trap(repository, trap)
    command = ["git", "-C", str(repository.path), "status"]
    subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert Path(trap).with_name("sprung").exists()


async def test_where_filters_are_not_run_what_looks_modified_is_not_counted(
    repository: Repository, trap: str
) -> None:
    clean(repository, trap)
    assert await uncommitted(str(repository.path), UID) == 1  # .gitattributes
    repository.git("add", ".gitattributes", environ={"GIT_ATTR_NOSYSTEM": "1"})
    repository.git("commit", "--quiet", "--message", "x")
    with pytest.raises(Untold, match="not run"):
        await uncommitted(str(repository.path), UID)


@pytest.fixture
def lfs(tmp_path: Path, repository: Repository) -> None:
    """What `git lfs install` leaves in the settings of its user, for all repositories."""
    (tmp_path / ".gitconfig").write_text('[filter "lfs"]\nclean = false\nprocess = false\nrequired = true\n')


@pytest.mark.usefixtures("lfs")
async def test_a_filter_that_no_file_has_keeps_no_change_from_being_counted(repository: Repository) -> None:
    repository.write("below/kept", "too\n")
    repository.commit()
    for name in ("kept", "below/kept"):
        repository.write(name, "changed since\n")
    assert await uncommitted(str(repository.path), UID) == 2
    assert await uncommitted(str(repository.path / "below"), UID) == 2


@pytest.mark.usefixtures("lfs")
@pytest.mark.parametrize("where", ["project/.gitattributes", ".config/git/attributes"])
async def test_files_that_have_a_filter_are_not_counted_beside_those_that_have_none(
    repository: Repository, tmp_path: Path, where: str
) -> None:
    repository.write("big.bin", "as cleaned\n")
    repository.commit()
    repository.write("big.bin", "as smudged\n")
    attributes = tmp_path / where
    attributes.parent.mkdir(parents=True, exist_ok=True)
    attributes.write_text("*.bin filter=lfs\n")
    (repository.path / ".git/info/exclude").write_text(".gitattributes\n")
    with pytest.raises(Untold, match="not run"):
        await uncommitted(str(repository.path), UID)
    repository.write("kept", "changed since\n")
    assert await uncommitted(str(repository.path), UID) == 1


async def test_another_user_is_asked_about_as_that_user(tmp_path: Path) -> None:
    """By root. A user can ask for nobody else."""
    if UID:
        with pytest.raises(Untold, match="cannot be run"):
            await uncommitted(str(tmp_path), UID + 1)
        return
    with TemporaryDirectory() as directory:
        here = Repository(Path(directory))
        change(here)
        with pytest.raises(Untold, match="cannot change to"):
            await uncommitted(directory, NOBODY)
        for path in (here.path, *here.path.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        assert await uncommitted(directory, NOBODY) == 1
        # Nobody could write it otherwise, and git believes only what its user wrote.
        os.chown(here.path / ".git", 0, 0)
        os.chmod(here.path, 0o755)
        with pytest.raises(Untold, match="dubious ownership"):
            await uncommitted(directory, NOBODY)


async def test_what_asks_for_a_user_cannot_start_another_program() -> None:
    """The kernel sees to that, except for root."""
    uid = UID or NOBODY
    for script, status in (("echo", 0), ("echo | cat", 2)):
        answer = await ask(*git._alone(uid), "sh", "-c", script, limit=100, uid=uid)
        assert answer.status == status


# Words


@pytest.mark.parametrize(
    ("names", "drivers"),
    [
        ("", []),
        ("core.bare\0user.name\0", []),
        ("filter.lfs.clean\0filter.lfs.process\0", ["lfs"]),
        ("FILTER.a.b=c.clean\0filter.two\nlines.smudge\0", ["a.b=c", "two\nlines"]),
        ("filter.clean\0filters.x.clean\0", []),
    ],
)
def test_filters_are_found_by_their_settings(names: str, drivers: list[str]) -> None:
    assert drivers_of(names) == drivers


@pytest.mark.parametrize(
    ("attributes", "files"),
    [
        (b"", 0),
        (b"a\0filter\0lfs\0", 0),
        (b"a\0filter\0unspecified\0b\0filter\0lfs\0c\0filter\0unset\0", 2),
        (b"a\nb\0filter\0two\nlines\0", 0),
        (b"a\0filter\0of another program\0", 1),
    ],
)
def test_only_files_without_a_filter_that_was_not_run_are_sure(attributes: bytes, files: int) -> None:
    assert count_others(attributes, ["lfs", "two\nlines"]) == files
