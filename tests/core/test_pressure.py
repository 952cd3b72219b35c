"""Tiers rise at once and fall after a dwell."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import NOW, SECOND
from musterd.core.config import PressureConfig
from musterd.core.pressure import (
    Pressure,
    PressureSource,
    Psi,
    Reading,
    Tier,
    parse_meminfo,
    parse_psi,
    tier_of,
)

CONFIG = PressureConfig()


def reading(some: float = 0, full: float = 0, available: float = 50, at: int = 0) -> Reading:
    return Reading(NOW + at * SECOND, PressureSource.PSI, some, full, int(available * 10), 1000)


@pytest.mark.parametrize(
    ("given", "tier"),
    [
        (reading(), Tier.NORMAL),
        (reading(some=9.9), Tier.NORMAL),
        (reading(some=10), Tier.ELEVATED),
        (reading(available=10), Tier.ELEVATED),
        (reading(full=10), Tier.CRITICAL),
        (reading(available=5), Tier.CRITICAL),
        (Reading(NOW, PressureSource.NONE, 0, 0, 0, 0), Tier.NORMAL),
    ],
)
def test_tier_of_one_reading(given: Reading, tier: Tier) -> None:
    assert tier_of(given, CONFIG) is tier


def test_rising_is_immediate() -> None:
    assert Pressure().next(reading(full=50), CONFIG).tier is Tier.CRITICAL


def falling(*steps: tuple[int, float]) -> Pressure:
    pressure = Pressure().next(reading(some=50), CONFIG)
    for at, some in steps:
        pressure = pressure.next(reading(some=some, at=at), CONFIG)
    return pressure


def test_falling_needs_the_dwell() -> None:
    assert falling((1, 0), (30, 0)).tier is Tier.ELEVATED
    assert falling((1, 0), (31, 0)).tier is Tier.NORMAL


def test_falling_needs_a_lower_threshold_than_rising() -> None:
    assert falling((1, 9), (40, 9)).tier is Tier.ELEVATED
    assert falling((1, 6.9), (40, 6.9)).tier is Tier.NORMAL


def test_one_high_reading_starts_the_dwell_anew() -> None:
    assert falling((1, 0), (29, 20), (31, 0), (40, 0)).tier is Tier.ELEVATED


def test_the_dwell_starts_anew_when_the_clock_was_set_back() -> None:
    assert falling((1000, 0), (10, 0), (39, 0)).tier is Tier.ELEVATED
    assert falling((1000, 0), (10, 0), (40, 0)).tier is Tier.NORMAL


@given(st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=60))
def test_tier_never_falls_twice_within_a_dwell(values: list[float]) -> None:
    pressure, falls = Pressure(), []
    for at, some in enumerate(values):
        after = pressure.next(reading(some=some, at=at), CONFIG)
        if after.tier.rank < pressure.tier.rank:
            falls.append(at)
        pressure = after
    assert all(later - earlier >= CONFIG.dwell for earlier, later in pairwise(falls))


def test_the_kernels_own_file_parses() -> None:
    path = Path("/proc/pressure/memory")
    assert parse_psi(path.read_text()).some_avg10 >= 0


def test_meminfo_of_this_machine_parses() -> None:
    available, total = parse_meminfo(Path("/proc/meminfo").read_text())
    assert 0 < available <= total


def test_psi_text() -> None:
    text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=3\n"
    assert parse_psi(text) == Psi(1.5, 0.25, 7)


@pytest.mark.parametrize("text", ["", "some", "some avg10=x avg60=0 avg300=0 total=1", "full avg10=0.00"])
def test_what_is_no_psi_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"pressure|some"):
        parse_psi(text)
