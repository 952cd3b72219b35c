"""Real agents: a laboratory, and the real daemon that watches it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.daemon import Daemon
from helpers.private_bus import PrivateBus

from .agents import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab") as lab:
        yield lab


@pytest.fixture
def daemon(tmp_path: Path, private_bus: PrivateBus, lab: Lab) -> Iterator[Daemon]:
    """Its home is that of the agents, and it judges within seconds."""
    with Daemon.eager(tmp_path, private_bus, lab.home) as daemon:
        yield daemon
