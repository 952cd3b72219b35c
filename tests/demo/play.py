#!/usr/bin/env python3
"""`make demo`: the story of two agents on one machine, told by the real daemon.

Two things are not real, and it says so: the agents are stand-ins that leave the traces Codex leaves, and the
memory pressure is an injected reading. Nothing outside a temporary directory is touched, and no other agent.
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
from helpers.programs import end_all_in  # noqa: E402
from helpers.standin import install_codex  # noqa: E402
from musterd.core.units import USEC_PER_SEC  # noqa: E402
from musterd.host.tty import GRANULARITY  # noqa: E402

PATIENCE = 60.0  # seconds for each step of the story


class Stage:
    """A tmux server with a pane for each agent, and the daemon that watches them."""

    def __init__(self, work: Path, daemon: Daemon) -> None:
        self.work = work
        self.daemon = daemon
        self.typed = 0.0
        self.bin = work / "bin"
        self.bin.mkdir()
        command = shlex.join(install_codex(work / "agent"))
        wrapper = self.bin / "codex"  # `codex`, and `codex resume ID`, as a user types it
        wrapper.write_text(f"#!/bin/sh\nSTANDIN_THREAD=$2 exec {command}\n")
        wrapper.chmod(0o755)

    def tmux(self, *args: str) -> str:
        command = ["tmux", "-S", str(self.work / "demo"), "-f", "/dev/null", *args]
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
        shell = f"env PATH={self.bin}:$PATH PS1='$ ' bash --norc --noprofile"
        size = ("-x", "90", "-y", "20")
        self.tmux("new-session", "-d", "-s", name, *size, "-c", str(project), shell)
        until(lambda: "$" in self.screen(name), "a prompt")
        self.type(name, "codex")

    def screen(self, name: str) -> str:
        return self.tmux("capture-pane", "-p", "-t", name)

    def show(self, name: str) -> None:
        """What its user sees."""
        for line in self.screen(name).rstrip().splitlines():
            print(f"    | {line}")

    def type(self, name: str, text: str) -> None:
        self.tmux("send-keys", "-t", name, text, "Enter")
        self.typed = time.monotonic()

    def session(self, name: str) -> str:
        project = os.path.realpath(self.daemon.home / name)  # others may play the same story
        return next((s["Id"] for s in self.daemon.sessions() if s["CWD"] == project), "")

    def state(self, name: str) -> str:
        return str(self.daemon.session(self.session(name))["State"])

    def history(self, session_id: str) -> list[str]:
        (events,) = self.daemon.call("ListEvents", "utts", 20, 0, 0, session_id)
        return [kind for _, _, _, kind, *_ in events]

    def musterctl(self, *args: str) -> None:
        self.daemon.release_others()
        print(f"\n$ musterctl {shlex.join(args)}")
        sys.stdout.flush()
        subprocess.run(
            [sys.executable, "-m", "helpers.patient_ctl", *args], env=dict(self.daemon.env()), check=False
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
    stage.type("parser", "tool 3600")  # for longer than the story, however slow the machine
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

    say("The idle one is proven idle by every gate. As shipped, the reaper runs dry: that is written down.")
    stage.musterctl("explain", idle)
    until(lambda: "would-reap" in stage.history(idle), "history")

    say("The daemon is killed, and started again: the roll is as it was.")
    daemon.leave_others_alone(9)  # and what its user really runs here is not reaped below
    until(lambda: stage.state("website") == "idle", "the roll is back")
    stage.musterctl("list")

    # Until then nobody can tell whether somebody typed once more, which keeps it.
    until(lambda: time.monotonic() - stage.typed > GRANULARITY / USEC_PER_SEC, "an old key stroke")
    say("Now its operator switches the reaper on.")
    working = daemon.session(stage.session("parser"))["Leader"]
    stage.musterctl("reaper", "mode", "on", "--why", "the demonstration")
    until(lambda: not stage.session("website"), "the idle one is ended")
    stage.musterctl("list", "--all")
    stage.musterctl("events", idle)
    assert daemon.session(stage.session("parser"))["Leader"] == working
    say("The memory is back, and the working one works on. This is what the user of the idle one sees:")
    stage.show("website")

    say("Pressure falls. The user wants it back: the same conversation, in its pane.")
    daemon.press(pressed=False)
    stage.musterctl("resume", idle)
    until(lambda: stage.session("website") == idle, "it is back")
    stage.show("website")
    stage.musterctl("list")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="musterd-demo.") as directory:
        work = Path(directory)
        with DBusDaemon(work / "bus") as bus, Daemon.eager(work, bus) as daemon:
            stage = Stage(work, daemon)
            try:
                play(stage)
            finally:
                subprocess.run(
                    ["tmux", "-S", str(work / "demo"), "kill-server"], capture_output=True, check=False
                )
                end_all_in(work)


if __name__ == "__main__":
    main()
