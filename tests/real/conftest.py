"""Real agents: a laboratory, and the real daemon that watches it.

All wait for each other as long as a busy machine needs. A test of such a limit sets that one itself.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from helpers.daemon import DAEMON, Daemon
from helpers.private_bus import PrivateBus

from .agents import HOOK_PATIENCE, PATIENCE, Lab

HELPERS = Path(__file__).parents[1]
PATIENT = f'[stop-gate]\nhook-timeout = "{HOOK_PATIENCE}s"\ncheck-timeout = "30s"\n'


class PatientDaemon(Daemon):
    """With the patience that its parts have within a test."""

    module = "helpers.patience"
    patience = PATIENCE  # a look has several parts

    def env(self, **more: str) -> Mapping[str, str]:
        return super().env(**{"PYTHONPATH": f"{DAEMON}:{HELPERS}", **more})


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Without hooks of ours: what a user sees who has only just installed musterd."""
    with Lab(tmp_path / "lab") as lab:
        yield lab


@pytest.fixture
def hooked_lab(tmp_path: Path, private_bus: PrivateBus) -> Iterator[Lab]:
    """Hooks are those that musterctl installs; they report to the daemon on the private bus."""
    programs = tmp_path / "bin"
    programs.mkdir()
    _program(programs / "musterctl", private_bus.address)
    hook = programs / "musterd-hook"
    environ = f"MUSTERD_BUS={private_bus.address} MUSTERD_HOOK_TIMEOUT={HOOK_PATIENCE}"
    hook.write_text(f'#!/bin/sh\n{environ} exec {DAEMON}/musterd-hook "$@"\n')
    hook.chmod(0o755)
    with Lab(tmp_path / "lab", programs / "musterctl") as lab:
        yield lab


def _program(path: Path, bus: str) -> None:
    """As an installed one: named, and found, by its own path."""
    path.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.path[:0] = [{str(DAEMON)!r}, {str(HELPERS)!r}]\n"
        f"os.environ['MUSTERD_BUS'] = {bus!r}\n"
        "from helpers.patience import be_patient_as_musterctl\nbe_patient_as_musterctl()\n"
        "from musterd.ctl.main import main\nsys.exit(main())\n"
    )
    path.chmod(0o755)


@pytest.fixture
def hooked_daemon(tmp_path: Path, private_bus: PrivateBus, hooked_lab: Lab) -> Iterator[Daemon]:
    with PatientDaemon.eager(tmp_path, private_bus, hooked_lab.home, PATIENT) as daemon:
        yield daemon


@pytest.fixture
def daemon(tmp_path: Path, private_bus: PrivateBus, lab: Lab) -> Iterator[Daemon]:
    """Its home is that of the agents, and it judges within seconds."""
    with PatientDaemon.eager(tmp_path, private_bus, lab.home, PATIENT) as daemon:
        yield daemon
