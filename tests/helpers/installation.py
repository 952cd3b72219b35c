"""musterctl as a user runs it, in a home directory that leads nowhere else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .daemon import LIBRARY, Daemon
from .private_bus import DBusDaemon

TIMEOUT = 90.0  # seconds; a busy machine
CONFIG = "[discovery]\nenabled = false\n"  # agents of whoever runs the tests are none of ours


@dataclass(frozen=True)
class Outcome:
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Installation:
    """Where programs find what they need: a home directory and a bus."""

    home: Path
    bus: str

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        own = {"HOME": str(self.home), "MUSTERD_BUS": self.bus, "PYTHONPATH": LIBRARY}
        # A busy machine is no reason to say nothing in a test that is not about just that.
        return {**kept, **own, "PYTHONWARNINGS": "error", "MUSTERD_HOOK_TIMEOUT": "60"}

    def ctl_command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "helpers.patient_ctl", *args]

    def ctl(self, *args: str, stdin: str | bytes = b"", **environ: str) -> Outcome:
        done = subprocess.run(
            self.ctl_command(*args),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**self.environ, **environ},
            timeout=TIMEOUT,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def json(self, *args: str) -> Any:
        outcome = self.ctl("--json", *args)
        assert outcome.status == 0, outcome
        return json.loads(outcome.stdout)

    def register(self, process: "subprocess.Popen[bytes]", *args: str) -> str:
        outcome = self.ctl("register", "--pid", str(process.pid), *args)
        assert outcome.status == 0, outcome
        return outcome.stdout.strip()


@contextmanager
def running_musterd(directory: Path, more: str = "") -> Iterator[Installation]:
    """A bus and a daemon on it in single-user mode, ready to be called."""
    with DBusDaemon(directory / "bus") as bus, Daemon(directory, bus, CONFIG + more) as daemon:
        yield Installation(daemon.home, bus.address)


@contextmanager
def some_process(command: Sequence[str] = ("sleep", "infinity")) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(list(command)) as process:
        try:
            yield process
        finally:
            process.kill()
