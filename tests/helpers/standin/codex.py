"""A stand-in that leaves the traces Codex 0.169 leaves: its lock, its rollout, its screen, its tools.

Runs under an interpreter that is called `codex` (see `StandIn`). Each line typed is a prompt:

    think N     silent for N seconds, then an answer        tool N      a shell tool that takes N seconds
    ask         asks for a permission, until the next line   /quit       ends
"""

import fcntl
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

SCREEN = "\x1b[2J\x1b[H"
COMPOSER = "\r\n\x1b[1m\u203a\x1b[0m \x1b[2mAsk Codex to do anything\x1b[0m\r\n"
DIALOG = (
    "\r\nWould you like to run the following command?\r\n\r\n  Press enter to confirm or esc to cancel\r\n"
)


class Rollout:
    """The record of one conversation, made with its first prompt, and locked while it is open."""

    def __init__(self, home: Path) -> None:
        self.thread = str(uuid.uuid4())
        now = datetime.now(UTC)
        day = home / "sessions" / f"{now:%Y/%m/%d}"
        day.mkdir(parents=True, exist_ok=True)
        self._file = (day / f"rollout-{now:%Y-%m-%dT%H-%M-%S}-{self.thread}.jsonl").open("w")
        locks = home / "thread-writer-locks"
        locks.mkdir(exist_ok=True)
        self._lock = (locks / f"{self.thread}.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        meta = {
            "id": self.thread,
            "session_id": self.thread,
            "cwd": str(Path.cwd()),
            "cli_version": "0.169.0",
        }
        self.write("session_meta", meta)

    def write(self, kind: str, payload: Mapping[str, object]) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        print(
            json.dumps({"timestamp": stamp, "type": kind, "payload": payload}), file=self._file, flush=True
        )


def take_turn(rollout: Rollout, prompt: str) -> None:
    word, _, number = prompt.partition(" ")
    turn = str(uuid.uuid4())
    rollout.write("event_msg", {"type": "task_started", "turn_id": turn})
    rollout.write("response_item", {"type": "message", "role": "user"})
    show(f"• Working on '{prompt}'\r\n")
    seconds = float(number or 0)
    if word == "tool":
        rollout.write("response_item", {"type": "function_call", "name": "exec_command"})
        environ = {**os.environ, "CODEX_THREAD_ID": rollout.thread, "CODEX_SESSION_ID": rollout.thread}
        subprocess.run(["sleep", str(seconds)], env=environ, start_new_session=True, check=False)
        rollout.write("response_item", {"type": "function_call_output"})
    elif word == "ask":
        show(DIALOG)
        sys.stdin.readline()
    else:
        time.sleep(seconds)
    rollout.write("event_msg", {"type": "task_complete", "turn_id": turn})
    show(f"• Done: {prompt}\r\n{COMPOSER}")


def show(text: str) -> None:
    sys.stdout.write(SCREEN + text)
    sys.stdout.flush()


def main() -> None:
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    home.mkdir(exist_ok=True)
    (home / "config.toml").touch()
    (home / "config.toml").read_text()  # at each start, as the real one does
    show(COMPOSER)
    rollout = None
    for line in sys.stdin:
        if line.strip() in ("quit", "/quit"):
            return
        rollout = rollout or Rollout(home)
        take_turn(rollout, line.strip())


main()
