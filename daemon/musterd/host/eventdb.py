"""The database of the event log: its schema, queries and trimming. Used by one thread only."""

import json
import os
import secrets
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from musterd.ports import Record

SCHEMA_VERSION = 1
SCHEMA = f"""
    BEGIN;
    CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,  -- not used again after its row is gone
        at INTEGER NOT NULL, kind TEXT NOT NULL, session TEXT NOT NULL, uid INTEGER NOT NULL,
        text TEXT NOT NULL, fields TEXT NOT NULL  -- a JSON object
    ) STRICT;
    CREATE INDEX event_session ON event (session);
    CREATE INDEX event_uid ON event (uid);
    PRAGMA user_version = {SCHEMA_VERSION};
    COMMIT;
"""
TRIM_ROWS = 500  # deleted in one transaction
TRIM_ROUNDS = 64  # transactions of one trim at the most
ROW_BYTES = 100  # of a row beside its texts: numbers, indexes, the table's own
TRIM_PAGES = 1024  # given back to the file system in one go
WAL_PAGES = 200  # pages of 4 KiB in the -wal file, before they are moved into the database
WAL_SIZE = 2**20  # bytes that the -wal file keeps
RESERVE = 2 * WAL_SIZE  # below the bound, for the -wal file and what comes before the next trim

# Of a row; length() alone counts characters, and only up to a NUL.
_BYTES = " + ".join(
    [str(ROW_BYTES), *(f"length(CAST({name} AS BLOB))" for name in ("kind", "session", "text", "fields"))]
)

# What SQLite says of a file that is broken, no database, or one with another schema.
_ODD = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


class OddDatabaseError(sqlite3.DatabaseError):
    """The file is broken or not ours: move it away."""


@dataclass(frozen=True, slots=True)
class Query:
    """The latest `limit` rows that fit; numbers strictly between `after` and `before`, 0: all."""

    limit: int
    uid: int | None = None
    session: str = ""
    kinds: tuple[str, ...] = ()
    before: int = 0
    after: int = 0

    def sql(self) -> tuple[str, list[str | int]]:
        terms: list[tuple[str, Sequence[str | int]]] = [
            ("uid = ?", () if self.uid is None else (self.uid,)),
            ("session = ?", (self.session,) if self.session else ()),
            (f"kind IN ({', '.join('?' * len(self.kinds))})", self.kinds),
            ("number < ?", (self.before,) if self.before else ()),
            ("number > ?", (self.after,) if self.after else ()),
        ]
        used = [(term, values) for term, values in terms if values]
        where = " AND ".join(term for term, _ in used) or "TRUE"
        columns = "number, at, kind, session, uid, text, fields"
        return (
            f"SELECT {columns} FROM event WHERE {where} ORDER BY number DESC LIMIT ?",  # noqa: S608  # our text
            [value for _, values in used for value in values] + [max(0, self.limit)],
        )


class EventDb:
    """Opens itself when used. Methods raise sqlite3.Error (OddDatabaseError among them) and OSError."""

    def __init__(self, path: str, quarantine: str) -> None:
        self.path = path
        self._quarantine = quarantine
        self._db: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._shares: Counter[int] | None = None  # bytes of each user's rows; None: not counted yet

    def write(self, records: Sequence[Record]) -> None:
        insert = "INSERT INTO event (at, kind, session, uid, text, fields) VALUES (?, ?, ?, ?, ?, ?)"
        rows = [_row(record) for record in records]
        with self._opened() as db, db:
            db.executemany(insert, rows)
        if self._shares is not None:
            for row in rows:
                self._shares[row[3]] += ROW_BYTES + sum(
                    len(value.encode()) for value in row if isinstance(value, str)
                )

    def read(self, query: Query) -> list[tuple[int, Record]]:
        with self._opened() as db:
            return [(row[0], _record(*row[1:])) for row in db.execute(*query.sql())]

    def trim(self, oldest: int, max_size: int) -> None:
        """Forget some rows that are before `oldest` (realtime µs) or too much: a bounded piece of work.

        What is too much goes from the user who has most, so that nobody's flood washes away what others did.
        """
        with self._opened() as db:
            self._delete(
                db, "at < ? AND number IN (SELECT number FROM event ORDER BY number LIMIT ?)", oldest
            )
            for _ in range(TRIM_ROUNDS):
                if _used(db) <= max(max_size - RESERVE, WAL_SIZE):
                    break
                shares = self._counted(db)
                of_most = "number IN (SELECT number FROM event WHERE uid = ? ORDER BY number LIMIT ?)"
                if not self._delete(db, of_most, max(shares, key=shares.__getitem__, default=0)):
                    break
            db.execute(f"PRAGMA incremental_vacuum({TRIM_PAGES})").fetchall()

    def _delete(self, db: sqlite3.Connection, which: str, value: int) -> int:
        with db:
            delete = f"DELETE FROM event WHERE {which} RETURNING uid, {_BYTES}"  # noqa: S608  # our own text
            gone = db.execute(delete, [value, TRIM_ROWS]).fetchall()
        if self._shares is not None:
            for uid, size in gone:
                self._shares[uid] -= size
            self._shares = +self._shares  # without those who have none left
        return len(gone)

    def _counted(self, db: sqlite3.Connection) -> Counter[int]:
        if self._shares is None:
            self._shares = Counter(
                dict(db.execute(f"SELECT uid, sum({_BYTES}) FROM event GROUP BY uid"))  # noqa: S608  # as above
            )
        return self._shares

    def set_aside(self) -> str:
        """Move what is there to quarantine; returns the name it has there."""
        self.close()
        target = f"{os.path.basename(self.path)}.{secrets.token_hex(4)}"
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(self.path + suffix, os.path.join(self._quarantine, target + suffix))
        return target

    def close(self) -> None:
        self._shares = None
        if self._db:
            self._db.close()
            self._db = None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._db is None or not self._is_in_place():
                self.close()
                self._db = self._open()
            yield self._db
        except sqlite3.Error as exc:
            if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _ODD:
                raise OddDatabaseError(str(exc)) from exc
            raise

    def _is_in_place(self) -> bool:
        """SQLite would go on writing into a file that somebody removed."""
        with suppress(FileNotFoundError):
            return self._file is not None and os.path.samestat(os.lstat(self.path), self._file)
        return False

    def _open(self) -> sqlite3.Connection:
        self._file = _make_private(self.path)
        db = sqlite3.connect(self.path, timeout=1.0)
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            db.execute(f"PRAGMA journal_size_limit = {WAL_SIZE}")
            _migrate(db)
        except BaseException:
            db.close()
            raise
        return db


def _make_private(path: str) -> os.stat_result:
    """SQLite gives its side files the mode of the database, and would follow a symbolic link."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(fd)
    except FileExistsError:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OddDatabaseError("it is not a regular file") from None
    return os.lstat(path)


def _migrate(db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        db.executescript(SCHEMA)
    elif version != SCHEMA_VERSION:
        raise OddDatabaseError(f"version {version} of the schema is not {SCHEMA_VERSION}")


def _used(db: sqlite3.Connection) -> int:
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _row(record: Record) -> tuple[int, str, str, int, str, str]:
    fields = json.dumps(dict(record.fields), separators=(",", ":"), default=str)
    return record.at, _utf8(record.kind), _utf8(record.session), record.uid, _utf8(record.text), fields


def _utf8(text: str) -> str:
    """File names may hold bytes that are no UTF-8; SQLite takes none of those."""
    return text.encode("utf-8", "backslashreplace").decode()


def _record(at: int, kind: str, session: str, uid: int, text: str, fields: str) -> Record:
    return Record(at, kind, session, uid, text, json.loads(fields))
