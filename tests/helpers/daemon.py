"""The real daemon, as a process on a private bus, and busctl to talk to it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from helpers.private_bus import PrivateBus
from helpers.programs import until

NAME = "org.musterd.Muster1"
ROOT = "/org/musterd/Muster1"
DAEMON = Path(__file__).parents[2] / "daemon"
LIBRARY = f"{DAEMON}:{Path(__file__).parents[1]}"  # musterd, and what helps to test it
START_TIMEOUT = STOP_TIMEOUT = 60.0  # seconds, on a busy machine

# What the machine itself is short of is none of a test's business.
CALM_MACHINE = """
[pressure]
psi-path = "{work}/pressure"
meminfo-path = "{work}/meminfo"
"""

# Everything that would make an idle session wait for its verdict is as short as can be.
EAGER = f"""{CALM_MACHINE}
dwell = 0
[reaper]
min-age = 0
quiet-elevated = 0
quiet-critical = 0
recent-user = 0
grace = "1s"
post-action-delay = 0
budget-per-hour = 1000
"""

# Agents that somebody runs on this machine are none of a test's business.
ALONE = "[discovery]\nenabled = false\n"

CALM = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
PRESSED = CALM.replace("avg10=0.00", "avg10=40.00")
MEMINFO = "MemTotal:       16000000 kB\nMemFree:         8000000 kB\nMemAvailable:    8000000 kB\n"


class CallFailed(Exception):
    """busctl's own words: the name of the error is not among them, its text is."""


class Daemon:
    """`python -m musterd --user` with a state directory of its own; ready when the block begins.

    It waits for others as long as a busy machine needs: helpers/patience.py.
    """

    module = "helpers.patience"
    patience = 60.0  # seconds for the answer to a call

    def __init__(
        self, work: Path, bus: PrivateBus, config: str = ALONE, home: Path | None = None, **env: str
    ) -> None:
        self.work = work
        self.bus = bus
        self.home = home or work / "home"
        self.state = work / "state"
        self.config = work / "musterd.toml"
        self._env = env
        self.process: subprocess.Popen[str] | None = None
        self.home.mkdir(exist_ok=True, parents=True)
        self.config.write_text(config)
        (work / "pressure").write_text(CALM)
        (work / "meminfo").write_text(MEMINFO)

    @classmethod
    def eager(cls, work: Path, bus: PrivateBus, home: Path | None = None, more: str = "") -> Self:
        return cls(work, bus, EAGER.format(work=work) + more, home)

    def press(self, *, pressed: bool = True) -> None:
        """Let the pressure file show high pressure, or none."""
        (self.work / "pressure.new").write_text(PRESSED if pressed else CALM)
        (self.work / "pressure.new").rename(self.work / "pressure")

    def start(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = self.work / "notify"
            path.unlink(missing_ok=True)
            notify.bind(str(path))
            path.chmod(0o777)  # it may run as another user
            with (self.work / "log").open("a") as log:
                env = self.env(NOTIFY_SOCKET=str(path))
                self.process = subprocess.Popen(self.command, env=env, stderr=log, text=True)
            try:
                self._await_ready(notify)
            except BaseException:
                self.process.kill()
                self.process.wait()
                raise

    @property
    def command(self) -> list[str]:
        return [
            sys.executable, "-m", self.module, "--user", "--bus", self.bus.address,
            "--config", str(self.config), "--state-dir", str(self.state), "--log-level", "debug",
        ]  # fmt: skip

    def env(self, **more: str) -> Mapping[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "PYTHONPATH": LIBRARY,
            "MUSTERD_BUS": self.bus.address,
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.work}/no-system-bus",  # unless a test brings one
            **self._env,
            **more,
        }

    def _await_ready(self, notify: socket.socket) -> None:
        assert self.process is not None
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while True:
                ready, _, _ = select.select([notify.fileno(), pidfd], [], [], START_TIMEOUT)
                assert notify.fileno() in ready, f"musterd did not start:\n{self.log}"
                if b"READY=1" in notify.recv(65536):
                    return
        finally:
            os.close(pidfd)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it -> its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"musterd does not stop:\n{self.log}") from None

    def restart(self, number: int = signal.SIGTERM) -> None:
        self.stop(number)
        self.start()

    def leave_others_alone(self, number: int = signal.SIGTERM) -> None:
        """Before anything is ended: it starts anew, finds no more agents, and forgets those of others."""
        self.stop(number)
        self.config.write_text(self.config.read_text() + ALONE)
        self.start()
        self.release_others()

    def release_others(self) -> None:
        """Agents that somebody runs on this machine leave its roll."""

        def nobody_else_is_there() -> bool:
            others = [s["Id"] for s in self.sessions() if not Path(s["CWD"]).is_relative_to(self.home)]
            for session_id in others:
                with suppress(CallFailed):  # it may have left by itself
                    self.call("ReleaseSession", "s", session_id)
            return not others

        until(nobody_else_is_there, "those of others are off the roll")

    @property
    def log(self) -> str:
        return (self.work / "log").read_text()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    # Talking to it

    def call(self, member: str, signature: str = "", *args: object, path: str = ROOT) -> list[Any]:
        """The values that `Interface.Member` answers, as busctl's JSON has them."""
        interface, _, method = member.rpartition(".")
        answer = self.busctl(
            "call", NAME, path, f"{NAME}.{interface or 'Manager'}", method, signature, *map(str, args)
        )
        return list(json.loads(answer)["data"]) if answer.strip() else []

    def get(self, prop: str, path: str = ROOT) -> Any:
        interface, _, name = prop.rpartition(".")
        answer = self.busctl("get-property", NAME, path, f"{NAME}.{interface or 'Manager'}", name)
        return json.loads(answer)["data"]

    def session(self, session_id: str) -> dict[str, Any]:
        """All properties of a session."""
        answer = self.busctl(
            "call", NAME, f"{ROOT}/session/{session_id}", "org.freedesktop.DBus.Properties", "GetAll",
            "s", f"{NAME}.Session",
        )  # fmt: skip
        return {name: value["data"] for name, value in json.loads(answer)["data"][0].items()}

    def sessions(self) -> list[dict[str, Any]]:
        keys = ("Id", "Agent", "UID", "State", "CWD", "Path")
        (rows,) = self.call("ListSessions")
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def register(self, pid: int, **spec: str) -> str:
        """Register a process with text keys -> the id."""
        pairs: list[object] = ["pid", "u", pid]
        for key, value in spec.items():
            pairs += [key.replace("_", "-"), "s", value]
        session_id, _ = self.call("RegisterSession", "a{sv}", 1 + len(spec), *pairs)
        return str(session_id)

    def explain(self, session_id: str) -> tuple[str, str, dict[str, tuple[str, str]]]:
        """(verdict, kept_by, {gate: (outcome, evidence)})"""
        verdict, kept_by, gates = self.call("Reaper.Explain", "s", session_id)
        return verdict, kept_by, {name: (outcome, evidence) for name, outcome, _, evidence in gates}

    def busctl(self, *args: str) -> str:
        done = subprocess.run(
            ["busctl", f"--address={self.bus.address}", "--json=short", f"--timeout={self.patience}", *args],
            capture_output=True, text=True, timeout=2 * self.patience, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CallFailed(done.stderr.strip())
        return done.stdout
