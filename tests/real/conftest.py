"""Real agents: a laboratory, and the real daemon that watches it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.daemon import DAEMON, Daemon
from helpers.private_bus import PrivateBus

from .agents import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Without hooks of ours: what a user sees who has only just installed musterd."""
    with Lab(tmp_path / "lab", Path("/bin/true")) as lab:
        yield lab


@pytest.fixture
def hooked_lab(tmp_path: Path, private_bus: PrivateBus) -> Iterator[Lab]:
    """Hooks report to the daemon on the private bus, through `musterctl hook`."""
    report = tmp_path / "report"
    report.write_text(
        f"#!/bin/sh\nPYTHONPATH={DAEMON} MUSTERD_BUS={private_bus.address} "
        f'exec {sys.executable} -m musterd.ctl hook "$@"\n'
    )
    report.chmod(0o755)
    with Lab(tmp_path / "lab", report) as lab:
        yield lab


@pytest.fixture
def hooked_daemon(tmp_path: Path, private_bus: PrivateBus, hooked_lab: Lab) -> Iterator[Daemon]:
    with Daemon.eager(tmp_path, private_bus, hooked_lab.home) as daemon:
        yield daemon


@pytest.fixture
def daemon(tmp_path: Path, private_bus: PrivateBus, lab: Lab) -> Iterator[Daemon]:
    """Its home is that of the agents, and it judges within seconds."""
    with Daemon.eager(tmp_path, private_bus, lab.home) as daemon:
        yield daemon
