"""The time of day, when somebody last set it, and when the machine was suspended."""

import time
from collections.abc import Callable, Sequence

from musterd.core.state import ClockMark
from musterd.core.suspend import Suspend
from musterd.host.clocks import boottime_ns, monotonic_ns, read_clocks
from musterd.host.process import boot_id

# µs. What keeps the clock right by slewing (adjtimex(2)) moves both clocks alike: realtime runs off
# CLOCK_BOOTTIME only when it is set.
STEP = 1_000_000

# Suspends that are told apart; of more, the first ones are taken for one.
SUSPENDS = 64


class HostClock:
    """Realtime, watched against CLOCK_BOOTTIME: that one goes on in suspend and is never set.

    CLOCK_MONOTONIC, which stands still in suspend, tells how long that was.
    """

    def __init__(
        self,
        realtime_ns: Callable[[], int] = time.time_ns,
        boottime_ns: Callable[[], int] = boottime_ns,
        monotonic_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._realtime_ns = realtime_ns
        self._boottime_ns = boottime_ns
        self._monotonic_ns = monotonic_ns
        now, read, awake = self._clocks()
        self._read = read  # when it was last read, since boot
        self._offset = now - read
        self._stepped = 0
        self._twice = (0, 0)
        self._asleep = read - awake  # in suspends, since boot
        # Nobody says when.
        self._suspends = [(0, read)] if self._asleep > STEP else []  # since boot

    def now(self) -> int:
        now, read, awake = self._clocks()
        offset = now - read
        if abs(offset - self._offset) > STEP:
            self._stepped = now
        if offset < self._offset - STEP:  # somewhen since it was read
            first, last = self._twice if self._twice[0] else (now, now)
            self._twice = min(first, self._read + offset), max(last, read + self._offset)
        self._notice_suspend(read, awake)
        self._offset, self._read = offset, read
        return now

    def _clocks(self) -> tuple[int, int, int]:
        clocks = read_clocks(self._realtime_ns, self._boottime_ns, self._monotonic_ns)
        return clocks.realtime // 1000, clocks.boottime // 1000, clocks.monotonic // 1000

    def _notice_suspend(self, read: int, awake: int) -> None:
        lasted = read - awake - self._asleep
        if lasted <= STEP:
            return
        self._asleep += lasted
        # It began at the latest so long ago: what is dated before that is from before it.
        self._suspends.append((read - lasted, read))
        if len(self._suspends) > SUSPENDS:
            (began, _), (_, ended), *others = self._suspends
            self._suspends = [(began, ended), *others]

    def mark(self) -> ClockMark:
        self.now()
        suspends = tuple(moment for suspend in self._suspends for moment in suspend)
        return ClockMark(
            boot_id(), self._offset, self._read, self._stepped, *self._twice, self._asleep, suspends
        )

    def recall(self, mark: ClockMark) -> None:
        if mark.boot_id == boot_id():
            self._offset, self._read = mark.offset, mark.read
            self._stepped, self._twice = mark.stepped, (mark.first, mark.last)
            self._asleep = mark.asleep
            self._suspends = list(zip(mark.suspends[::2], mark.suspends[1::2], strict=False))

    def stepped(self) -> int:
        self.now()
        return self._stepped

    def twice(self) -> tuple[int, int]:
        self.now()
        return self._twice

    def suspends(self) -> Sequence[Suspend]:
        self.now()
        return [Suspend(began + self._offset, ended + self._offset) for began, ended in self._suspends]
