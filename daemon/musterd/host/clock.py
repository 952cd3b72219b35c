"""The time of day, and when somebody last set it."""

import time
from collections.abc import Callable

from musterd.core.state import ClockMark
from musterd.host.process import boot_id

# µs. What keeps the clock right by slewing (adjtimex(2)) moves both clocks alike: realtime runs off
# CLOCK_BOOTTIME only when it is set. But we may be held up between reading the one and the other.
STEP = 1_000_000


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class HostClock:
    """Realtime, watched against CLOCK_BOOTTIME: that one goes on in suspend and is never set."""

    def __init__(
        self, realtime_ns: Callable[[], int] = time.time_ns, boottime_ns: Callable[[], int] = _boottime_ns
    ) -> None:
        self._realtime_ns = realtime_ns
        self._boottime_ns = boottime_ns
        self._read = self._boottime_ns() // 1000  # when it was last read, since boot
        self._offset = self._realtime_ns() // 1000 - self._read
        self._stepped = 0
        self._twice = (0, 0)

    def now(self) -> int:
        now, read = self._realtime_ns() // 1000, self._boottime_ns() // 1000
        offset = now - read
        if abs(offset - self._offset) > STEP:
            self._stepped = now
        if offset < self._offset - STEP:  # somewhen since it was read
            first, last = self._twice if self._twice[0] else (now, now)
            self._twice = min(first, self._read + offset), max(last, read + self._offset)
        self._offset, self._read = offset, read
        return now

    def mark(self) -> ClockMark:
        self.now()
        return ClockMark(boot_id(), self._offset, self._read, self._stepped, *self._twice)

    def recall(self, mark: ClockMark) -> None:
        if mark.boot_id == boot_id():
            self._offset, self._read = mark.offset, mark.read
            self._stepped, self._twice = mark.stepped, (mark.first, mark.last)

    def stepped(self) -> int:
        self.now()
        return self._stepped

    def twice(self) -> tuple[int, int]:
        self.now()
        return self._twice
