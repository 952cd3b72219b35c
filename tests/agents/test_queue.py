"""The queue of a Codex: what others left for a thread, in a real database of it."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from helpers.builders import session
from musterd.agents.codex import Codex
from musterd.host.transcript import Unreadable
from musterd.warden.visit import count_queued

# Of Codex 0.169.0: `codex queue` left an input for a thread that nobody ran.
CAPTURE = Path(__file__).parent / "captures/codex/queue_1.sql"
THREAD = "01a1ff22-8d86-7630-8c7e-f9ab6a4ce167"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".codex").mkdir()
    with closing(sqlite3.connect(tmp_path / ".codex/queue_1.sqlite")) as database:
        database.executescript(CAPTURE.read_text())
    return tmp_path


def queued(thread: str, home: Path, environ: Mapping[str, str] | None = None) -> int | Unreadable | None:
    queue = Codex().queue(session(agent_session_id=thread), str(home), environ or {})
    return count_queued(queue, os.getuid())


def test_only_what_waits_for_the_thread_counts(home: Path) -> None:
    assert queued(THREAD, home) == 1
    assert queued("another", home) == 0
    assert queued("", home) is None


@pytest.mark.parametrize("name", ["CODEX_HOME", "CODEX_SQLITE_HOME"])
def test_it_is_where_codex_keeps_it(home: Path, name: str) -> None:
    (home / ".codex").rename(home / "elsewhere")
    assert queued(THREAD, home) is None
    assert queued(THREAD, home, {name: str(home / "elsewhere")}) == 1


def test_what_its_writer_has_not_moved_into_the_database_counts(home: Path) -> None:
    with closing(sqlite3.connect(home / ".codex/queue_1.sqlite")) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE queued_items SET thread_id = 'another'")
        writer.commit()
        assert (queued("another", home), queued(THREAD, home)) == (1, 0)


def test_another_schema_is_no_empty_queue(home: Path) -> None:
    with closing(sqlite3.connect(home / ".codex/queue_1.sqlite")) as database:
        database.execute("ALTER TABLE queued_items RENAME TO inputs")
    assert isinstance(queued(THREAD, home), Unreadable)
