"""What `make demo` plays."""

import os
import subprocess
import sys
from pathlib import Path

PLAY = Path(__file__).parent / "play.py"


def test_the_story_is_told_to_its_end(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, PLAY], env=env, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be reaped" in done.stdout
    assert "was reaped" in done.stdout
    assert "is back in tmux" in done.stdout
    assert not list(tmp_path.glob("musterd-demo.*"))
