"""Sizes, as people read them."""

import pytest

from musterd.core.units import size


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 KiB"), (5_000, "5 KiB"), (734_003_200, "700 MiB"), (1_288_490_188, "1.2 GiB")]
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text
