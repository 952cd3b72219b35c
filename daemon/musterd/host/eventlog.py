"""History: what happened, in SQLite, bounded in age and size."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from musterd.core.config import EventsConfig
from musterd.core.errors import Failed
from musterd.core.units import USEC_PER_SEC
from musterd.ports import Clock, Record

from .eventdb import EventDb, OddDatabaseError, Query

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000  # records that wait to be written; the oldest are dropped for more
MAX_ROWS = 1000  # of one answer
TRIM_EVERY = 200  # rows written

T = TypeVar("T")


class SqliteEventLog:
    """The EventLog over one database file.

    Its thread sleeps until there is something to write. What gathers while it commits goes into the next
    commit: a lone event is written at once, a burst costs few commits, and nothing has to poll.
    """

    def __init__(
        self,
        path: str,
        quarantine: str,
        config: EventsConfig,
        clock: Clock,
        tell: Callable[[Record], None] = lambda _: None,
    ) -> None:
        """`quarantine` is an existing directory; `tell` gets each record too (see `journal.tell`)."""
        self.config = config  # may be replaced
        self._clock = clock
        self._tell = tell
        self._db = EventDb(path, quarantine)
        self._waiting: deque[Record] = deque(maxlen=MAX_WAITING)
        self._dropped = 0
        self._untrimmed = TRIM_EVERY  # the first write trims, too
        self._is_woken = False
        self._is_closed = False
        self._health = ""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eventlog")

    def append(self, record: Record) -> None:
        self._tell(record)
        if self._is_closed:
            return
        if len(self._waiting) == MAX_WAITING:
            self._dropped += 1
        self._waiting.append(record)
        if not self._is_woken:
            self._is_woken = True
            self._thread.submit(self._flush)

    async def recent(
        self,
        limit: int,
        *,
        uid: int | None = None,
        session: str = "",
        kinds: Collection[str] = (),
        before: int = 0,
        after: int = 0,
    ) -> Sequence[tuple[int, Record]]:
        """Raises Failed where the history cannot be read."""
        query = Query(min(limit, MAX_ROWS), uid, session, tuple(kinds), before, after)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, query)

    @property
    def health(self) -> str:
        return self._health

    async def check(self) -> None:
        """Try again what failed: else that would only be when the next event comes."""
        if self._health:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._flush)

    async def close(self) -> None:
        """Writes what waits."""
        self._is_closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._flush)
        await loop.run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()

    # What follows runs in the thread.

    def _flush(self) -> None:
        self._is_woken = False  # first: what comes from here on wakes us again
        self._note_dropped()
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch and not self._health:
            return
        try:
            self._on_db(lambda db: db.write(batch))
        except (sqlite3.Error, OSError) as exc:
            self._waiting.extendleft(reversed(batch))
            self._set_health(f"cannot write '{self._db.path}': {exc}")
            return
        self._untrimmed += len(batch)
        self._set_health(self._trim())

    def _trim(self) -> str:
        """Why it cannot be; "" if it can."""
        oldest = self._clock.now() - int(self.config.keep * USEC_PER_SEC)
        try:
            while self._untrimmed >= TRIM_EVERY:
                self._on_db(lambda db: db.trim(oldest, self.config.max_size))
                self._untrimmed -= TRIM_EVERY
        except (sqlite3.Error, OSError) as exc:
            self._untrimmed = TRIM_EVERY  # again next time
            return f"cannot trim '{self._db.path}': {exc}"
        return ""

    def _read(self, query: Query) -> list[tuple[int, Record]]:
        self._flush()
        try:
            return self._on_db(lambda db: db.read(query))
        except (sqlite3.Error, OSError, ValueError) as exc:
            raise Failed(f"Cannot read the history: {exc}.") from exc

    def _on_db(self, work: Callable[[EventDb], T]) -> T:
        """Do it; if the database turns out to be broken, do it on a new one."""
        try:
            return work(self._db)
        except OddDatabaseError as exc:
            name = self._db.set_aside()
            text = f"The event log was moved to quarantine as '{name}' and begun anew: {exc}"
            logger.warning("%s", text)
            self._db.write([Record(self._clock.now(), "quarantined", text=text)])
        return work(self._db)

    def _note_dropped(self) -> None:
        if self._dropped and not self._health:
            text = f"{self._dropped} events could not be kept"
            self._dropped = 0
            self._waiting.append(Record(self._clock.now(), "degraded", text=text))

    def _set_health(self, text: str) -> None:
        if text and not self._health:
            logger.warning("Event log: %s, ignoring", text)
        self._health = text
