"""Time that passed while the machine was awake."""

import pytest

from musterd.core.suspend import Suspend, awake


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
