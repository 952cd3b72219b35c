#!/usr/bin/env python3
"""`make demo`: the story of two agents on one machine, told by the real daemon.

Two things are not real, and it says so: the agents are stand-ins that leave the traces Codex leaves, and the
memory pressure is an injected reading. Nothing outside a temporary directory is touched.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "daemon")]

from helpers.daemon import Daemon  # noqa: E402 - after the path is set
from helpers.private_bus import DBusDaemon  # noqa: E402
from helpers.standin import install_codex  # noqa: E402

PATIENCE = 20.0  # seconds for each step of the story


class Stage:
    """A tmux server with a pane for each agent, and the daemon that watches them."""

    def __init__(self, work: Path, daemon: Daemon) -> None:
        self.work = work
        self.daemon = daemon
        self.command = install_codex(work / "agent")

    def tmux(self, *args: str) -> str:
        command = ["tmux", "-S", str(self.work / "tmux"), "-f", "/dev/null", *args]
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.daemon.home),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    def start(self, name: str) -> None:
        project = self.daemon.home / name
        project.mkdir()
        self.tmux(
            "new-session",
            "-d",
            "-s",
            name,
            "-x",
            "90",
            "-y",
            "20",
            "-c",
            str(project),
            shlex.join(self.command),
        )

    def type(self, name: str, text: str) -> None:
        self.tmux("send-keys", "-t", name, text, "Enter")

    def session(self, name: str) -> str:
        return next((s["Id"] for s in self.daemon.sessions() if s["CWD"].endswith(f"/{name}")), "")

    def state(self, name: str) -> str:
        return str(self.daemon.session(self.session(name))["State"])

    def musterctl(self, *args: str) -> None:
        print(f"\n$ musterctl {shlex.join(args)}")
        sys.stdout.flush()
        subprocess.run(
            [sys.executable, "-m", "musterd.ctl", *args], env=dict(self.daemon.env()), check=False
        )


def say(text: str) -> None:
    print(f"\n\033[1m» {text}\033[0m" if sys.stdout.isatty() else f"\n» {text}")


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"The story broke off: {what} did not happen within {PATIENCE:g} s.")
        time.sleep(0.05)


def play(stage: Stage) -> None:
    daemon = stage.daemon
    say("The two agents of this story are stand-ins that leave the traces which Codex leaves.")
    say("Two agents start in tmux. Nobody registers them.")
    for name in ("parser", "website"):
        stage.start(name)
    until(lambda: stage.session("parser") and stage.session("website"), "both on the roll")

    say("Both are given work. One has soon done it, the other one runs a long tool.")
    stage.type("website", "think 1")
    stage.type("parser", "tool 45")
    until(lambda: stage.state("website") == "idle", "the website's agent idle")
    until(lambda: stage.state("parser") == "busy", "the parser's agent busy")
    stage.musterctl("list")

    say("Memory runs short. (An injected reading: the file that the daemon reads now shows high pressure.)")
    daemon.press()
    idle = stage.session("website")
    until(lambda: daemon.explain(idle)[0] == "reap", "the idle one proven idle")
    stage.musterctl("pressure")

    say("The working one is kept, whatever the pressure. Why?")
    stage.musterctl("explain", stage.session("parser"))

    say("The idle one is proven idle by every gate. In dry-run, that is written down, and nothing is ended.")
    stage.musterctl("explain", idle)
    until(
        lambda: "would-reap" in [e[3] for e in daemon.call("ListEvents", "utts", 20, 0, 0, idle)[0]],
        "history",
    )
    stage.musterctl("events", idle)

    say("The daemon is killed, and started again: the roll is as it was.")
    daemon.restart(9)
    until(lambda: stage.state("website") == "idle", "the roll is back")
    stage.musterctl("list")

    say("An agent is killed: it is off the roll before the prompt is back, and known how to be resumed.")
    os.kill(daemon.session(idle)["Leader"], 9)
    until(lambda: not stage.session("website"), "it left the roll")
    stage.musterctl("list", "--all")
    say("That is the story so far. Ending idle agents in earnest, and resuming them, is the next release.")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="musterd-demo.") as directory:
        work = Path(directory)
        with DBusDaemon(work / "bus") as bus, Daemon.eager(work, bus) as daemon:
            stage = Stage(work, daemon)
            try:
                play(stage)
            finally:
                subprocess.run(
                    ["tmux", "-S", str(work / "tmux"), "kill-server"], capture_output=True, check=False
                )


if __name__ == "__main__":
    main()
