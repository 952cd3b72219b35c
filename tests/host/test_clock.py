"""The clock notices that somebody set it, and nothing else."""

from dataclasses import dataclass

from musterd.host.clock import HostClock

SECOND = 1_000_000_000


@dataclass
class Times:
    """Both clocks of a kernel, in ns."""

    realtime: int = 1_800_000_000 * SECOND
    boottime: int = 1000 * SECOND

    def pass_by(self, seconds: float, *, slew: float = 0.0) -> None:
        self.boottime += int(seconds * SECOND)
        self.realtime += int((seconds + slew) * SECOND)


def clock_of(times: Times) -> HostClock:
    return HostClock(lambda: times.realtime, lambda: times.boottime)


def test_the_real_clock_counts_microseconds_and_was_not_set() -> None:
    clock = HostClock()
    first = clock.now()
    assert 1_500_000_000_000_000 < first <= clock.now()
    assert clock.stepped() == 0


def test_passing_time_and_a_slewing_clock_are_no_step() -> None:
    times = Times()
    clock = clock_of(times)
    times.pass_by(86400)  # as in suspend, which CLOCK_BOOTTIME counts
    for _ in range(60):
        times.pass_by(60, slew=0.03)
        clock.now()
    assert clock.stepped() == 0


def test_a_step_in_either_direction_is_dated_by_the_new_time() -> None:
    times = Times()
    clock = clock_of(times)
    times.pass_by(10, slew=3600)
    forward = clock.stepped()
    assert forward == times.realtime // 1000
    times.pass_by(10)
    assert clock.stepped() == forward
    times.pass_by(10, slew=-7200)
    assert clock.stepped() == times.realtime // 1000
