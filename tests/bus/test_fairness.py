"""How long a caller waits for its turn, and when it is refused."""

import pytest

from musterd.bus.fairness import KNOWN, Fairness
from musterd.bus.limits import Limits, Rate
from musterd.core.errors import LimitReached

LIMITS = Limits(
    calls_in_flight=2, calls_in_flight_per_user=3, rate=Rate(3, 10), rate_per_user=Rate(5, 10),
    bytes_in_flight_per_user=100, bytes_in_flight=250, short_call=10,
)  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def waits(fairness: Fairness, who: str | int, count: int) -> list[float]:
    return [round(fairness.wait(who), 3) for _ in range(count)]


@pytest.mark.parametrize(("who", "limit"), [(":1.1", 2), (1000, 3), (0, 3)])
def test_one_more_than_may_be_in_flight_is_refused(who: str | int, limit: int) -> None:
    fairness = Fairness(LIMITS)
    for _ in range(limit):
        fairness.enter(who)
    with pytest.raises(LimitReached, match=f"{limit} calls in flight"):
        fairness.enter(who)
    fairness.enter(":1.2")
    fairness.leave(who)
    fairness.enter(who)
    assert fairness.in_flight(who) == limit


@pytest.mark.parametrize("who", [":1.1", 1000])
def test_long_calls_are_refused_once_there_are_too_many_bytes_of_them(who: str | int) -> None:
    fairness = Fairness(LIMITS)
    fairness.enter(who, 60)
    with pytest.raises(LimitReached, match="long calls of 100 bytes in flight"):
        fairness.enter(who, 41)
    assert fairness.in_flight(who) == 1
    fairness.enter(who, 40)
    fairness.leave(who, 60)
    fairness.enter(who, 60)


def test_short_calls_are_none_of_that() -> None:
    fairness = Fairness(LIMITS)
    fairness.enter(":1.1", 100)
    fairness.enter(":1.1", 10)
    fairness.leave(":1.1", 10)
    fairness.enter(":1.1")


def test_long_calls_of_all_have_a_bound_together() -> None:
    fairness = Fairness(LIMITS)
    for who in (":1.1", 1000, ":1.2", 1001):
        fairness.enter(who, 100)  # of each call both its connection and its user
    with pytest.raises(LimitReached, match="All callers have long calls of 250 bytes in flight"):
        fairness.enter(":1.3", 51)
    fairness.enter(":1.3", 50)
    fairness.enter(":1.4", 10)
    fairness.leave(":1.1", 100)
    fairness.enter(":1.4", 100)


def test_who_comes_too_often_waits_a_little_longer_each_time() -> None:
    fairness = Fairness(LIMITS, Clock())
    assert waits(fairness, ":1.1", 5) == [0, 0, 0, 0.1, 0.2]
    assert waits(fairness, 1000, 6) == [0, 0, 0, 0, 0, 0.1]
    assert waits(fairness, ":1.2", 1) == [0]


def test_time_pays_back() -> None:
    clock = Clock()
    fairness = Fairness(LIMITS, clock)
    waits(fairness, ":1.1", 5)
    clock.now += 0.3
    assert waits(fairness, ":1.1", 2) == [0, 0.1]
    clock.now += 3600
    assert waits(fairness, ":1.1", 4) == [0, 0, 0, 0.1]


def test_only_who_owes_nothing_is_forgotten() -> None:
    clock = Clock()
    fairness = Fairness(LIMITS, clock)
    for number in range(KNOWN - 1):
        fairness.wait(f":1.{number}")
    clock.now += 1
    waits(fairness, 1000, 5)
    fairness.wait(":1.new")
    assert len(fairness._buckets) == 2
    assert waits(fairness, 1000, 1) == [0.1]
