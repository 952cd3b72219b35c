"""A transcript that is an SQLite database: read only, for a short time, whoever else writes it."""

import hashlib
import os
import sqlite3
import time
from contextlib import closing
from urllib.parse import quote

from musterd.agents.base import Query
from musterd.core.evidence import Transcript
from musterd.host.transcript import Unreadable, open_regular

TIMEOUT = 0.5  # seconds: longer, and somebody holds a lock or the query is a bad one
ROW_LIMIT = 2000
SIZE_LIMIT = 4 * 1024 * 1024  # bytes of all rows together
_STEPS = 10_000  # of SQLite's machine between two looks at the clock: about a millisecond


class QueryReader:
    """Runs one query again and again. Blocks for up to `TIMEOUT`, so it is called in a thread."""

    def __init__(self, query: Query, uid: int) -> None:
        self.query = query
        self._uid = uid
        self._seen = (0, 0, 0)  # device of the database, digest and size of the rows
        self._changed = 0

    def read(self) -> tuple[tuple[str, ...], Transcript]:
        """All rows, and a state that stands for them alone: others may share the database.

        Its `inode` is a digest of the rows, its `mtime` the first look at which they were like that. Raises
        Unreadable.
        """
        fd, status = open_regular(self.query.database, self._uid)
        os.close(fd)
        try:
            rows = self._select()
        except sqlite3.Error as exc:
            raise Unreadable(f"'{self.query.database}' cannot be read: {exc}") from exc
        digest = hashlib.blake2b("\n".join(rows).encode(errors="replace"), digest_size=7).digest()
        seen = (status.st_dev, int.from_bytes(digest), sum(map(len, rows)))
        if seen != self._seen:
            self._changed = time.time_ns() // 1000 if any(self._seen) else self._last_write()
            self._seen = seen
        return rows, Transcript(*seen, self._changed, is_complete=bool(rows))

    def _select(self) -> tuple[str, ...]:
        deadline = time.monotonic() + TIMEOUT
        uri = f"file:{quote(self.query.database)}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=TIMEOUT)) as database:
            database.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            rows = database.execute(self.query.sql, dict(self.query.parameters)).fetchmany(ROW_LIMIT + 1)
        if len(rows) > ROW_LIMIT:
            raise Unreadable(f"'{self.query.database}' has more than {ROW_LIMIT} rows for one session")
        texts = tuple(str(row[0]) for row in rows)
        if sum(map(len, texts)) > SIZE_LIMIT:
            raise Unreadable(f"'{self.query.database}' has more than {SIZE_LIMIT} bytes for one session")
        return texts

    def _last_write(self) -> int:
        """Realtime µs: nobody knows better when the rows became what they are before we first looked."""
        times = []
        for path in self.query.files:
            try:
                times.append(os.stat(path).st_mtime_ns // 1000)
            except FileNotFoundError:
                continue
        return max(times, default=0)
