import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from musterd.agents.base import Query
from musterd.host import query
from musterd.host.query import QueryReader
from musterd.host.transcript import Unreadable

SQL = "SELECT data FROM message WHERE session = :session ORDER BY id"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """As its agent holds it: open, with a write-ahead log."""
    with closing(sqlite3.connect(tmp_path / "agent.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, session TEXT, data TEXT)")
        connection.commit()
        yield connection


def add(database: sqlite3.Connection, session: str, data: str) -> None:
    database.execute("INSERT INTO message (session, data) VALUES (?, ?)", (session, data))
    database.commit()


def reader(tmp_path: Path, sql: str = SQL) -> QueryReader:
    return QueryReader(Query(str(tmp_path / "agent.db"), sql, {"session": "one"}), os.getuid())


def test_rows_come_from_the_log_as_soon_as_they_are_committed(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    add(database, "one", "a")
    rows = reader(tmp_path)
    assert rows.read()[0] == ("a",)
    add(database, "one", "b")
    assert rows.read()[0] == ("a", "b")


def test_what_others_write_does_not_change_the_state(database: sqlite3.Connection, tmp_path: Path) -> None:
    add(database, "one", "a")
    rows = reader(tmp_path)
    before = rows.read()[1]
    add(database, "two", "x" * 100_000)
    assert rows.read()[1] == before


def test_a_row_that_changes_at_equal_size_changes_the_state(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    add(database, "one", "a")
    rows = reader(tmp_path)
    before = rows.read()[1]
    database.execute("UPDATE message SET data = 'b'")
    database.commit()
    after = rows.read()[1]
    assert (before.size, before.inode) != (after.size, after.inode)
    assert after.mtime > before.mtime


def test_no_rows_are_no_transcript(database: sqlite3.Connection, tmp_path: Path) -> None:
    assert not reader(tmp_path).read()[1].is_complete


def test_nothing_is_written(database: sqlite3.Connection, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="readonly"):
        reader(tmp_path, "INSERT INTO message (session, data) VALUES (:session, 'x') RETURNING data").read()


def test_a_lock_costs_the_time_out_and_no_more(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "TIMEOUT", 0.05)
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    add(database, "one", "a")
    with pytest.raises(Unreadable, match="locked"):
        reader(tmp_path).read()


def test_an_endless_query_is_ended(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "TIMEOUT", 0.05)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, message"
    add(database, "one", "a")
    with pytest.raises(Unreadable, match="interrupted"):
        reader(tmp_path, endless).read()


def test_more_than_fits_is_not_read(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "one", "a")
    add(database, "one", "b")
    monkeypatch.setattr(query, "ROW_LIMIT", 1)
    with pytest.raises(Unreadable, match="more than 1 rows"):
        reader(tmp_path).read()
    monkeypatch.setattr(query, "ROW_LIMIT", 2)
    monkeypatch.setattr(query, "SIZE_LIMIT", 1)
    with pytest.raises(Unreadable, match="more than 1 bytes"):
        reader(tmp_path).read()


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_what_is_no_database_is_not_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.db").write_bytes(content)
    with pytest.raises(Unreadable):
        reader(tmp_path).read()


def test_a_link_to_a_database_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "agent.db").symlink_to("/etc/passwd")
    with pytest.raises(Unreadable, match="symbolic link"):
        reader(tmp_path).read()
