"""A tmux server of the test's own."""

import os
import pty
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from helpers.programs import until
from musterd.host.process import read_stat
from musterd.host.table import Table

ENVIRON = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LC_ALL": "C.UTF-8",
    "TERM": "xterm",
    "SHELL": "/bin/sh",
}


class TmuxServer:
    """Started in the background, killed by its pid. `run` is one client call; panes start in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.socket = str(directory / "tmux")
        self._directory = directory
        self._clients: list[tuple[int, int]] = []  # pid and its terminal's master
        self.run("-f", "/dev/null", "new-session", "-d", "-s", "main", "-x", "80", "-y", "24", "cat")
        self.pid = int(self.run("display-message", "-p", "#{pid}"))
        self._pidfd = os.pidfd_open(self.pid)

    def run(self, *command: str) -> str:
        client = ["tmux", "-u", "-S", self.socket, *command]
        done = subprocess.run(
            client, env=ENVIRON, cwd=self._directory, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    def pane(self, *command: str, session: str = "main") -> str:
        """The id of a new pane, in a window of its own, behind the others."""
        return self.run("new-window", "-d", "-t", session, "-P", "-F", "#{pane_id}", *command)

    def about(self, pane: str, field: str) -> str:
        return self.run("display-message", "-p", "-t", pane, f"#{{{field}}}")

    def attach(self, session: str = "main") -> int:
        """A client with a terminal; returns its master side, to type into."""
        before = len(self.run("list-clients").splitlines())
        pid, master = pty.fork()
        if pid == 0:
            os.execvpe("tmux", ["tmux", "-u", "-S", self.socket, "attach", "-t", session], ENVIRON)
        self._clients.append((pid, master))
        until(lambda: len(self.run("list-clients").splitlines()) > before, "the client is attached")
        return master

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        until(lambda: read_stat(self.pid).state == "T", "it is stopped")

    def end(self) -> None:
        self.run("kill-server")
        assert select.select([self._pidfd], [], [], 60)[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for pidfd in (self._pidfd, *self._stopped_below()):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], 60)
            os.close(pidfd)
        for pid, master in self._clients:
            os.close(master)
            os.waitpid(pid, 0)

    def _stopped_below(self) -> list[int]:
        """Pidfds of all that it started. What is stopped starts no more: the last look has seen all."""
        found: dict[int, int] = {}
        while new := [pid for row in Table.read().descendants(self.pid) if (pid := row.pid) not in found]:
            for pid in new:
                with suppress(ProcessLookupError):
                    found[pid] = os.pidfd_open(pid)
                    signal.pidfd_send_signal(found[pid], signal.SIGSTOP)
        return list(found.values())


def now() -> int:
    return time.time_ns() // 1000
