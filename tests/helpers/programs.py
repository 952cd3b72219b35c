"""Real processes for tests, ended by their pid whatever happens."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from musterd.host.process import read_stat
from musterd.host.table import Table

Found = TypeVar("Found")

PATIENCE = 60.0  # seconds, on a busy machine, for what comes at once


def until(look: Callable[[], Found | None], what: str, seconds: float = PATIENCE) -> Found:
    """The first truthy thing `look` sees, for what nothing tells of."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.01)
    return found


class Programs:
    """Starts programs; ends them, and those whose pid was `adopt`ed, when it is left."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []
        self._adopted: list[int] = []  # pidfds

    def start(
        self, *command: str | Path, environ: Mapping[str, str] | None = None, uid: int | None = None
    ) -> int:
        """Its pid, once it runs."""
        program = subprocess.Popen(
            [str(word) for word in command],
            env={"PATH": os.defpath, **(environ or {})},
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._started.append(program)
        until(lambda: _runs(program.pid), "it runs")
        return program.pid

    def read_line(self, pid: int) -> str:
        """The next line that it writes."""
        stdout = self._of(pid).stdout
        assert stdout is not None
        return stdout.readline().rstrip("\n")

    def write_line(self, pid: int, line: str) -> None:
        stdin = self._of(pid).stdin
        assert stdin is not None
        stdin.write(line + "\n")
        stdin.flush()

    def adopt(self, pid: int) -> int:
        """End this one, too: it is no child of ours any more."""
        assert pid > 1
        self._adopted.append(os.pidfd_open(pid))
        return pid

    def end(self, pid: int) -> None:
        """With all below it."""
        program = self._of(pid)
        self._started.remove(program)
        for row in Table.read().descendants(pid):
            with suppress(ProcessLookupError):
                self._adopted.append(os.pidfd_open(row.pid))
        program.kill()
        program.wait()
        for pipe in (program.stdin, program.stdout):  # what it started may hold the other end
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for program in [*self._started]:
            self.end(program.pid)
        for pidfd in self._adopted:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], PATIENCE)
            os.close(pidfd)

    def _of(self, pid: int) -> subprocess.Popen[str]:
        return next(program for program in self._started if program.pid == pid)


def _runs(pid: int) -> bool:
    """Whether it is the program that was meant: in the midst of execve(2) it has no arguments. Or was it."""
    return bool(Path(f"/proc/{pid}/cmdline").read_bytes()) or read_stat(pid).has_ended


def end_all_in(directory: Path) -> None:
    """Kill whoever works in a directory below that one; return when nobody does."""

    def all_have_ended() -> bool:
        pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _works_in(directory, pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    until(all_have_ended, f"nobody works in {directory} any more")


def _works_in(directory: Path, pid: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd").startswith(f"{directory}/")
    except OSError:  # it has ended
        return False


def shell(script: str) -> Sequence[str]:
    return "sh", "-c", script
