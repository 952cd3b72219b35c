"""Each test of the bus runs on both implementations there are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.private_bus import DBusBroker, DBusDaemon, PrivateBus


@pytest.fixture(params=[DBusDaemon, DBusBroker])
def private_bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrivateBus]:
    with request.param(tmp_path / "bus") as bus:
        yield bus
