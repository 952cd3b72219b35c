"""The time of day, and when somebody last set it."""

import time
from collections.abc import Callable

STEP = 5_000_000  # µs; a slewing NTP client moves realtime by no more than 0.5 ms a second


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class HostClock:
    """Realtime, watched against CLOCK_BOOTTIME: that one goes on in suspend and is never set."""

    def __init__(
        self, realtime_ns: Callable[[], int] = time.time_ns, boottime_ns: Callable[[], int] = _boottime_ns
    ) -> None:
        self._realtime_ns = realtime_ns
        self._boottime_ns = boottime_ns
        self._offset = self._realtime_ns() // 1000 - self._boottime_ns() // 1000
        self._stepped = 0

    def now(self) -> int:
        now = self._realtime_ns() // 1000
        offset = now - self._boottime_ns() // 1000
        if abs(offset - self._offset) > STEP:
            self._stepped = now
        self._offset = offset
        return now

    def stepped(self) -> int:
        self.now()
        return self._stepped
