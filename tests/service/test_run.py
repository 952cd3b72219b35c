"""What `make run` starts: it ends as quietly as it began."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.client import client
from helpers.daemon import NAME, STOP_TIMEOUT, Daemon

RUN = Path(__file__).parents[2] / "packaging" / "run"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}


def test_ctrl_c_ends_it_without_a_complaint(env: dict[str, str], tmp_path: Path) -> None:
    run = subprocess.Popen(
        [RUN, sys.executable, "top"], env=env, process_group=0, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert run.stdout
    assert any(line.startswith("musterd runs on") for line in run.stdout)
    assert any("Reaper: dry-run" in line for line in run.stdout)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    _, said = run.communicate(timeout=60)
    assert (run.returncode, [line for line in said.splitlines() if "musterctl" in line]) == (0, [])
    assert not list(tmp_path.glob("musterd-run.*"))


def test_nothing_stays_when_nobody_reads_what_it_says(env: dict[str, str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    run = subprocess.Popen([RUN, sys.executable, "top"], env=env, stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    assert run.wait(timeout=60) == 0
    assert not list(tmp_path.glob("musterd-run.*"))


def test_what_was_armed_in_an_earlier_run_is_not_in_this_one(env: dict[str, str]) -> None:
    shown = []
    for arm in (True, False):
        run = subprocess.Popen(
            [RUN, sys.executable, "top"], env=env, process_group=0, text=True, stdout=subprocess.PIPE
        )
        assert run.stdout
        address = next(line for line in run.stdout if "MUSTERD_BUS=" in line).rpartition("MUSTERD_BUS=")[2]
        ctl = [sys.executable, "-m", "musterd.ctl", "--bus", address.strip(), "reaper", "mode"]
        if arm:
            subprocess.run([*ctl, "on"], env=env, check=True)
        shown.append(subprocess.run(ctl, env=env, check=True, capture_output=True, text=True).stdout.strip())
        os.killpg(run.pid, signal.SIGINT)
        run.communicate(timeout=60)
    assert shown == ["on", "dry-run"]


def test_a_daemon_that_cannot_start_leaves_nothing_behind(env: dict[str, str], tmp_path: Path) -> None:
    run = subprocess.run(
        [RUN, sys.executable, "top"], env={**env, "XDG_STATE_HOME": "/proc"}, text=True,
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (run.returncode, "Cannot use the state directory" in run.stderr) == (1, True)
    assert not list(tmp_path.glob("musterd-run.*"))


async def test_a_daemon_that_lost_its_name_for_good_fails(daemon: Daemon) -> None:
    """So that Restart=on-failure starts it again."""
    async with client(daemon.bus.address) as rival:
        bus = "org.freedesktop.DBus"
        replace_existing = 2
        await rival.bus.call(
            bus, "/org/freedesktop/DBus", bus, "RequestName", "su", [NAME, replace_existing]
        )
        assert daemon.process
        assert await asyncio.to_thread(daemon.process.wait, STOP_TIMEOUT) == 1
    assert "Traceback" not in daemon.log
    assert NAME in daemon.log.splitlines()[-1]
