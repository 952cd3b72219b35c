"""The kernel's clocks, of one moment."""

import time
from collections.abc import Callable
from typing import NamedTuple

# ns. Reading all takes less than a microsecond, unless we are held up in the midst of it, by a busy machine
# or by a suspend: then the time of day and the time since boot are of two moments.
HELD_UP = 1_000_000
_ATTEMPTS = 5


class Clocks(NamedTuple):
    """In ns. In a suspend CLOCK_MONOTONIC stands still; otherwise it is like CLOCK_BOOTTIME."""

    realtime: int
    boottime: int
    monotonic: int


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def monotonic_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def read_clocks(
    realtime: Callable[[], int] = time.time_ns,
    boottime: Callable[[], int] = boottime_ns,
    monotonic: Callable[[], int] = monotonic_ns,
) -> Clocks:
    """Those of several readings that are closest to each other."""
    readings = []
    for _ in range(_ATTEMPTS):
        before, awake, now, after = boottime(), monotonic(), realtime(), boottime()
        readings.append((after - before, Clocks(now, before, awake)))
        if after - before < HELD_UP:
            break
    return min(readings)[1]
