"""The clock notices that somebody set it, and nothing else."""

from dataclasses import dataclass, replace

import pytest

from musterd.core.suspend import awake
from musterd.core.units import USEC_PER_SEC
from musterd.host.clock import SUSPENDS, HostClock

SECOND = 1_000_000_000


@dataclass
class Times:
    """The clocks of a kernel, in ns. Who reads them is held up after each of the next so many readings."""

    realtime: int = 1_800_000_000 * SECOND
    boottime: int = 1000 * SECOND
    monotonic: int = 1000 * SECOND
    hold_ups: int = 0

    def pass_by(self, seconds: float, *, slew: float = 0.0, asleep: float = 0.0) -> None:
        self.boottime += int((seconds + asleep) * SECOND)
        self.realtime += int((seconds + asleep + slew) * SECOND)
        self.monotonic += int(seconds * SECOND)

    def read(self, value: int) -> int:
        if self.hold_ups:
            self.hold_ups -= 1
            self.pass_by(10)
        return value


def clock_of(times: Times) -> HostClock:
    return HostClock(
        lambda: times.read(times.realtime),
        lambda: times.read(times.boottime),
        lambda: times.read(times.monotonic),
    )


def awake_of(clock: HostClock, since: int) -> float:
    return awake(since, clock.now(), clock.suspends()) / USEC_PER_SEC


def test_the_real_clock_counts_microseconds_and_was_not_set() -> None:
    clock = HostClock()
    first = clock.now()
    assert 1_500_000_000_000_000 < first <= clock.now()
    assert clock.stepped() == 0
    assert awake_of(clock, first) < 3600


def test_passing_time_and_a_slewing_clock_are_no_step() -> None:
    times = Times()
    clock = clock_of(times)
    times.pass_by(0, asleep=86400)
    for _ in range(60):
        times.pass_by(60, slew=0.03)
        clock.now()
    assert clock.stepped() == 0


@pytest.mark.parametrize("hold_ups", range(1, 12))
def test_who_is_held_up_between_two_clocks_sees_no_step(hold_ups: int) -> None:
    times = Times()
    clock = clock_of(times)
    times.hold_ups = hold_ups
    clock.now()
    assert (clock.stepped(), clock.suspends()) == (0, [])
    times.hold_ups = hold_ups
    assert clock_of(times).mark().offset == clock.mark().offset


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


def test_of_a_time_that_it_showed_twice_the_first_and_the_last_moment_are_told() -> None:
    times = Times()
    clock = clock_of(times)
    assert clock.twice() == (0, 0)
    times.pass_by(10, slew=3600)
    assert clock.twice() == (0, 0)  # set forward: no time came twice
    before = times.realtime // 1000
    times.pass_by(40)
    times.pass_by(0, slew=-600)  # somewhen between the two looks, so it may have been at the first
    assert clock.twice() == (before - 600_000_000, before + 40_000_000)
    times.pass_by(3600)
    after = clock.now()
    times.pass_by(0, slew=-60)  # both count
    assert clock.twice() == (before - 600_000_000, after)


@pytest.mark.parametrize("slew", [-600, 0, 600])
def test_a_step_is_seen_by_the_next_one_too_even_while_nobody_looked(slew: int) -> None:
    times = Times()
    first = clock_of(times)
    mark = first.mark()
    times.pass_by(60, slew=slew)
    seen, away = clock_of(times), clock_of(times)
    assert (seen.stepped(), seen.twice()) == (0, (0, 0))  # it would not know
    away.recall(mark)
    first.now()
    assert (away.stepped(), away.twice()) == (first.stepped(), first.twice())
    assert (away.stepped() > 0, away.twice() > (0, 0)) == (slew != 0, slew < 0)
    later = clock_of(times)
    later.recall(first.mark())
    assert (later.stepped(), later.twice()) == (first.stepped(), first.twice())


def test_a_mark_of_another_boot_says_nothing() -> None:
    times = Times()
    mark = clock_of(times).mark()
    times.pass_by(10, slew=-600)
    clock = clock_of(times)
    clock.recall(replace(mark, boot_id="another"))
    assert (clock.stepped(), clock.twice()) == (0, (0, 0))


def test_time_in_a_suspend_is_told_from_time_awake() -> None:
    times = Times()
    clock = clock_of(times)
    before = clock.now()
    times.pass_by(20)
    times.pass_by(0, asleep=3600)
    after = times.realtime // 1000
    times.pass_by(10)
    assert awake_of(clock, before) == 30
    # It was noticed that late: what is dated in between may be from before it, for all that is known.
    assert awake_of(clock, after) == 0
    times.pass_by(7)
    assert awake_of(clock, after) == 7
    assert awake_of(clock, before) == 37


def test_suspends_stay_where_they_were_when_the_clock_is_set() -> None:
    times = Times()
    clock = clock_of(times)
    times.pass_by(0, asleep=3600)
    clock.now()
    times.pass_by(10, slew=-1800)
    assert [s.ended for s in clock.suspends()] == [times.realtime // 1000 - 10 * USEC_PER_SEC]


def test_suspends_shorter_than_a_second_add_up() -> None:
    times = Times()
    clock = clock_of(times)
    before = clock.now()
    for _ in range(25):
        times.pass_by(1, asleep=0.5)
        clock.now()
    assert awake_of(clock, before) in (25, 25.5, 26)


def test_the_first_of_very_many_suspends_are_taken_for_one() -> None:
    times = Times()
    clock = clock_of(times)
    moments = []
    for _ in range(SUSPENDS + 10):
        moments.append(clock.now())
        times.pass_by(5, asleep=60)
    clock.now()
    assert len(clock.suspends()) == SUSPENDS
    assert awake_of(clock, moments[0]) == 5 * SUSPENDS
    assert awake_of(clock, moments[20]) == 5 * (SUSPENDS - 10)


def test_a_suspend_is_known_to_the_next_one_too() -> None:
    times = Times()
    first = clock_of(times)
    before = first.now()
    times.pass_by(5, asleep=60)
    mark = first.mark()
    times.pass_by(5, asleep=60)  # while nobody looked
    later = clock_of(times)
    later.recall(mark)
    times.pass_by(5)
    assert awake_of(later, before) == 15
    assert later.suspends() == first.suspends()


def test_suspends_of_which_nobody_knows_when_may_have_been_until_now() -> None:
    times = Times()
    before = times.realtime // 1000
    times.pass_by(7200, asleep=60)
    clock = clock_of(times)
    times.pass_by(5)
    assert awake_of(clock, before) == 5


def test_a_suspend_between_two_readings_is_no_step() -> None:
    times = Times()

    def suspended_after() -> int:
        now = times.realtime
        if not slept:
            slept.append(now)
            times.pass_by(0, asleep=3600)
        return now

    slept = [0]
    clock = HostClock(suspended_after, lambda: times.boottime, lambda: times.monotonic)
    before = clock.now()
    slept.clear()
    times.pass_by(10)
    assert clock.now() == times.realtime // 1000
    assert (clock.stepped(), clock.twice()) == (0, (0, 0))
    assert awake_of(clock, before) == 10
