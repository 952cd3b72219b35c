"""The time of day, and when somebody last set it."""

import time
from collections.abc import Callable

from musterd.core.state import ClockMark
from musterd.host.clocks import boottime_ns, read_clocks
from musterd.host.process import boot_id

# µs. What keeps the clock right by slewing (adjtimex(2)) moves both clocks alike: realtime runs off
# CLOCK_BOOTTIME only when it is set.
STEP = 1_000_000


class HostClock:
    """Realtime, watched against CLOCK_BOOTTIME: that one goes on in suspend and is never set."""

    def __init__(
        self, realtime_ns: Callable[[], int] = time.time_ns, boottime_ns: Callable[[], int] = boottime_ns
    ) -> None:
        self._realtime_ns = realtime_ns
        self._boottime_ns = boottime_ns
        now, self._read = self._clocks()  # when it was last read, since boot
        self._offset = now - self._read
        self._stepped = 0
        self._twice = (0, 0)

    def now(self) -> int:
        now, read = self._clocks()
        offset = now - read
        if abs(offset - self._offset) > STEP:
            self._stepped = now
        if offset < self._offset - STEP:  # somewhen since it was read
            first, last = self._twice if self._twice[0] else (now, now)
            self._twice = min(first, self._read + offset), max(last, read + self._offset)
        self._offset, self._read = offset, read
        return now

    def _clocks(self) -> tuple[int, int]:
        now, boottime = read_clocks(self._realtime_ns, self._boottime_ns)
        return now // 1000, boottime // 1000

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
