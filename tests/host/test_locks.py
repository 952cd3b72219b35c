import fcntl
import os
from pathlib import Path

from musterd.host.locks import lock_holders, locked_files, open_files, parse_locks


def test_only_holders_of_an_flock_are_named() -> None:
    text = b"""\
1: FLOCK  ADVISORY  WRITE 100 fe:00:12 0 EOF
1: -> FLOCK  ADVISORY  WRITE 200 fe:00:12 0 EOF
2: POSIX  ADVISORY  WRITE 300 fe:00:13 0 EOF
3: FLOCK  ADVISORY  READ  400 fe:00:14 0 EOF
"""
    assert parse_locks(text) == {100, 400}


def test_a_held_lock_is_found_by_path(tmp_path: Path) -> None:
    with (tmp_path / "held.lock").open("w") as held, (tmp_path / "free.lock").open("w") as free:
        fcntl.flock(held, fcntl.LOCK_EX)
        files = open_files(os.getpid())
        assert {files[held.fileno()], files[free.fileno()]} == {held.name, free.name}
        assert os.getpid() in lock_holders()
        assert locked_files(os.getpid(), files) == [held.name]
        fcntl.flock(held, fcntl.LOCK_UN)
        assert locked_files(os.getpid(), files) == []


def test_a_process_that_is_gone_has_nothing_open() -> None:
    assert open_files(2**22 + 1) == {}
