"""Memory pressure of this machine: the kernel's PSI trigger while all is well, readings while it is not.

Documentation/accounting/psi.rst. Without CAP_SYS_RESOURCE the kernel takes windows of whole 2 s only.
"""

import asyncio
import errno
import os
import select
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from musterd.core.config import PressureConfig
from musterd.core.errors import reason
from musterd.core.pressure import (
    FALL,
    PressureSource,
    Psi,
    Reading,
    Tier,
    parse_meminfo,
    parse_psi,
    tier_of,
)
from musterd.ports import Clock

from .ticks import next_tick, until_tick

TRIGGER = b"some 150000 2000000\0"  # 150 ms of stall in 2 s; the least that any user may ask for
CALM = 10.0  # seconds of readings after an event that raised no tier: avg10 has forgotten it by then
MARGIN = 2.0  # seconds after the dwell, so that the reading that lets the tier fall is still made
STALE = 10_000_000  # µs after which an average over 10 s that cannot be renewed says nothing any more
NO_TRIGGER_INTERVAL = 5.0  # seconds between readings where the kernel has PSI, but refuses a trigger
NO_MEMORY_INTERVAL = 10.0  # ... and where available memory cannot be read

# How fast available memory may fall (earlyoom's idea). With a trigger, growth that is faster makes stalls,
# and those are announced; without one, this is what a few compilers can fill.
FILL_RATE = 64 * 2**20  # bytes a second
FILL_RATE_BLIND = 512 * 2**20
INTERVALS = (60.0, 30.0, 10.0, 5.0, 2.0, 1.0)  # seconds; near multiples, so that ticks coincide

KERNEL_FILES = ("/proc/", "/sys/")


class Trigger:
    """A PSI trigger on the running loop.

    asyncio watches for reading only, so an inner epoll waits for EPOLLPRI. Polling it consumes the event:
    the loop has done so when it calls us, and asking again would find nothing.
    """

    def __init__(self, path: str) -> None:
        self._fired = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(self._fd, TRIGGER)
            self._epoll = select.epoll()
        except OSError:
            os.close(self._fd)
            raise
        self._epoll.register(self._fd, select.EPOLLPRI)
        self._loop.add_reader(self._epoll.fileno(), self._fired.set)

    async def fired(self, within: float) -> bool:
        """True when tasks stalled, False after that many seconds without."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._fired.wait()
        return self._fired.is_set()

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        os.close(self._fd)


class Gauge:
    """The PressureGauge of this machine.

    A pressure file of the kernel gets a trigger; any other file at `psi-path` is read once a second.
    """

    def __init__(
        self, config: PressureConfig, clock: Clock, arm: Callable[[str], Trigger] = Trigger
    ) -> None:
        self.config = config  # may be replaced; taken up with the next reading
        self._clock = clock
        self._new_trigger = arm
        self._trigger: Trigger | None = None
        self._episode_until = 0.0  # on the loop clock
        self._psi: Psi | None = None
        self._psi_at = 0
        self._memory = (0, 0)  # available, total
        self._last: Reading | None = None
        self._faults: dict[str, str] = {}

    @property
    def is_armed(self) -> bool:
        """Nothing is read until the kernel tells of a stall, or memory could have become scarce."""
        return self._trigger is not None

    @property
    def health(self) -> str:
        return "; ".join(self._faults.values())

    def read(self) -> Reading:
        """A reading now, or the last one: reading often while a trigger is armed keeps it from firing."""
        now = self._clock.now()
        if self._trigger and self._last and 0 <= now - self._last.at < 1_000_000:
            return self._last
        self._read_memory()
        self._read_psi(now)
        source = PressureSource.PSI if self._psi else PressureSource.PSUTIL
        psi = self._psi or Psi(0.0, 0.0, 0)
        self._last = Reading(now, source, psi.some_avg10, psi.full_avg10, *self._memory)
        return self._last

    async def readings(self) -> AsyncIterator[Reading]:
        try:
            while True:
                reading = self.read()
                yield reading
                await self._wait(reading)
        finally:
            self._disarm()

    async def _wait(self, reading: Reading) -> None:
        loop = asyncio.get_running_loop()
        # As a tier does: begins at the threshold, is over below a lower one.
        ease = FALL if loop.time() < self._episode_until else 1.0
        if tier_of(reading, self.config, ease) is not Tier.NORMAL:
            self._episode_until = loop.time() + self.config.dwell + MARGIN
        if not self._is_kernel_file or loop.time() < self._episode_until:
            self._disarm()
            await next_tick(1.0)
            return
        self._arm()
        interval = self._interval(reading)
        if self._trigger is None:
            await next_tick(interval)
        elif await self._trigger.fired(until_tick(interval)):
            self._disarm()
            self._episode_until = loop.time() + CALM

    @property
    def _is_kernel_file(self) -> bool:
        return os.path.realpath(self.config.psi_path).startswith(KERNEL_FILES)

    def _interval(self, reading: Reading) -> float:
        """Seconds that available memory will need to fall to the threshold, at the least."""
        if not reading.total:
            return NO_MEMORY_INTERVAL
        headroom = reading.available - reading.total * self.config.elevated_available / 100
        seconds = headroom / (FILL_RATE if self._trigger else FILL_RATE_BLIND)
        if not self._trigger and self._psi:
            seconds = min(seconds, NO_TRIGGER_INTERVAL)
        return next((interval for interval in INTERVALS if interval <= seconds), INTERVALS[-1])

    def _arm(self) -> None:
        if self._trigger:
            return
        if not self._psi:
            self._faults.pop("trigger", None)
            return
        try:
            self._trigger = self._new_trigger(self.config.psi_path)
            self._faults.pop("trigger", None)
        except OSError as exc:
            self._faults["trigger"] = (
                f"no trigger on '{self.config.psi_path}' ({exc.strerror}), "
                f"reading it every {NO_TRIGGER_INTERVAL:g} s"
            )

    def _disarm(self) -> None:
        if self._trigger:
            self._trigger.close()
            self._trigger = None

    def _read_psi(self, now: int) -> None:
        path = self.config.psi_path
        try:
            self._psi, self._psi_at = parse_psi(_text_of(path)), now
            self._faults.pop("psi", None)
        except (OSError, ValueError) as exc:
            if abs(now - self._psi_at) > STALE:
                self._psi = None
            if isinstance(exc, OSError) and exc.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                self._faults["psi"] = f"no PSI at '{path}', available memory alone decides"
            else:
                self._faults["psi"] = f"cannot read pressure from '{path}': {reason(exc)}"

    def _read_memory(self) -> None:
        path = self.config.meminfo_path
        try:
            self._memory = parse_meminfo(_text_of(path))
            self._faults.pop("memory", None)
        except (OSError, ValueError) as exc:
            self._faults["memory"] = f"cannot read available memory from '{path}': {reason(exc)}"


def _text_of(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, 65536).decode("utf-8", "replace")
    finally:
        os.close(fd)
