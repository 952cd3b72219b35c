"""Time that passed while the machine was awake."""

import pytest

from musterd.core.suspend import Suspend, awake, elapsed


@pytest.mark.parametrize(
    ("case", "since", "suspends", "expected"),
    [
        ("none", 10, [], 90),
        ("one in between", 10, [(20, 60)], 50),
        ("two", 10, [(20, 30), (40, 60)], 60),
        ("one before", 70, [(20, 60)], 30),
        ("one that it may have been in", 50, [(20, 60)], 40),
        ("one that is not over", 50, [(80, 200)], 30),
        ("the future", 110, [(20, 60)], -10),
    ],
)
def test_awake(case: str, since: int, suspends: list[tuple[int, int]], expected: int) -> None:
    assert awake(since, 100, [Suspend(*some) for some in suspends]) == expected


@pytest.mark.parametrize(
    ("case", "at", "stepped", "suspends", "expected"),
    [
        ("nothing happened since", 10, 0, [], 90),
        ("a suspend did", 10, 0, [(20, 60)], 50),
        ("the clock was set since", 10, 70, [], 30),
        ("it was set before", 80, 70, [], 20),
        ("it was set, and a suspend came after", 10, 70, [(80, 90)], 20),
        ("it was set back to before that", 110, 70, [], 30),
        ("it was set back before a reboot", 110, 0, [], 100),
    ],
)
def test_elapsed(case: str, at: int, stepped: int, suspends: list[tuple[int, int]], expected: int) -> None:
    assert elapsed(at, 100, stepped, [Suspend(*some) for some in suspends]) == expected
