"""What `make run` starts: it ends as quietly as it began."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
    _, said = run.communicate(timeout=20)
    assert (run.returncode, [line for line in said.splitlines() if "musterctl" in line]) == (0, [])
    assert not list(tmp_path.glob("musterd-run.*"))


def test_a_daemon_that_cannot_start_leaves_nothing_behind(env: dict[str, str], tmp_path: Path) -> None:
    run = subprocess.run(
        [RUN, sys.executable, "top"], env={**env, "XDG_STATE_HOME": "/proc"}, text=True,
        capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert (run.returncode, "Cannot use the state directory" in run.stderr) == (1, True)
    assert not list(tmp_path.glob("musterd-run.*"))
