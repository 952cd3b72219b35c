"""The real daemon on a private bus."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.daemon import Daemon
from helpers.private_bus import PrivateBus


@pytest.fixture
def daemon(tmp_path: Path, private_bus: PrivateBus) -> Iterator[Daemon]:
    with Daemon(tmp_path, private_bus) as daemon:
        yield daemon
