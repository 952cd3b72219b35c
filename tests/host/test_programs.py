"""Programs are asked, and nothing of them stays."""

import asyncio
import errno
import os
import pwd
from pathlib import Path

import pytest

from helpers.programs import until
from musterd.host import programs
from musterd.host.programs import ask, user_environ
from musterd.host.table import Table


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo said; echo aside >&2", (0, b"said\n", False)),
        ("exit 3", (3, b"", False)),
        ("kill -TERM $$", (-15, b"", False)),
        ("printf 1234567890", (0, b"1234567890", False)),
        ("printf 1234567890x; sleep 60", (-9, b"1234567890", True)),
        ("exec yes", (-9, b"y\ny\ny\ny\ny\n", True)),
        ("exec >&-; sleep 0.05; exit 4", (4, b"", False)),
    ],
)
async def test_what_it_says_and_how_it_ends_are_told(script: str, answer: tuple[int, bytes, bool]) -> None:
    got = await ask("sh", "-c", script, limit=10)
    assert (got.status, got.output, got.is_cut) == answer


async def test_errors_are_heard_where_they_are_wanted() -> None:
    assert (await ask("sh", "-c", "echo no >&2", limit=10, with_errors=True)).output == b"no\n"


async def test_what_stays_behind_it_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    answer = await ask("sh", "-c", f"sleep 60 & echo $! >{tmp_path}/pid; echo done", limit=10)
    assert (answer.status, answer.output) == (0, b"done\n")
    pid = int((tmp_path / "pid").read_text())
    until(lambda: (row := Table.read().rows.get(pid)) is None or row.has_ended, "it ended")


async def test_nothing_of_ours_is_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    answer = await ask("sh", "-c", "pwd; echo $SECRET; tty; ps -o sid= $$ | tr -d ' '; echo $$", limit=1000)
    place, secret, tty, session, pid = answer.output.decode().splitlines()
    assert (place, secret, tty, session) == ("/", "", "not a tty", pid)


def test_a_user_has_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/here")
    monkeypatch.setenv("SECRET", "x")
    mine = user_environ(os.geteuid())
    assert mine["HOME"] == "/home/here"
    assert "SECRET" not in mine
    other = next(user for user in pwd.getpwall() if user.pw_uid != os.geteuid())
    assert user_environ(other.pw_uid)["HOME"] == other.pw_dir
    assert "HOME" not in user_environ(2**31 - 7)


@pytest.mark.parametrize("script", ["", "yes"])
async def test_without_an_fd_left_no_process_is_left_behind(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refused)
    with pytest.raises(OSError, match="open files"):
        await ask("sh", "-c", script, limit=1000)


async def test_a_process_that_does_not_end_when_killed_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one does that hangs in the kernel."""
    started = programs._start(["sleep", "60"], {}, None, with_errors=False)
    monkeypatch.setattr(programs, "_start", lambda *_, **__: started)
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda *_: None)
        patch.setattr(programs, "_LOOKS", 10)
        asked = asyncio.ensure_future(ask("sleep", "60", limit=10))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert started.poll() is None
    started.kill()
    started.wait()
