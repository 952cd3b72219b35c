"""The kernel's clocks, of one moment."""

import time
from collections.abc import Callable

# ns. Reading both takes less than a microsecond, unless we are held up in the midst of it, by a busy machine
# or by a suspend: then the time of day and the time since boot are of two moments.
HELD_UP = 1_000_000
_ATTEMPTS = 5


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def read_clocks(
    realtime: Callable[[], int] = time.time_ns, boottime: Callable[[], int] = boottime_ns
) -> tuple[int, int]:
    """Realtime and CLOCK_BOOTTIME, in ns: those of several readings that are closest to each other."""
    readings = []
    for _ in range(_ATTEMPTS):
        before, now, after = boottime(), realtime(), boottime()
        readings.append((after - before, now, before))
        if after - before < HELD_UP:
            break
    _, now, before = min(readings)
    return now, before
