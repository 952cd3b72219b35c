"""Ends processes that it holds: signals go through pidfds only, so they cannot hit another process."""

import asyncio
import logging
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from musterd.host.process import HeldProcess, Stat, read_stat

logger = logging.getLogger(__name__)

_STOPPED = "Tt"  # by a signal, or by a tracer

# Why a process that was sent SIGKILL is still there (proc_pid_stat(5), field 3).
_WHY = {"D": "in uninterruptible sleep", "T": "stopped", "t": "stopped by a tracer"}


class Grip:
    """Processes held by their pidfds until it is left. OSError if there are no fds for all of them."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], HeldProcess] = {}

    def take(self, rows: Iterable[Stat]) -> list[Stat]:
        """Hold these, too; those that are new and still the ones that were seen."""
        return [row for row in rows if (row.pid, row.start_ticks) not in self._held and self._take(row)]

    def _take(self, row: Stat) -> bool:
        try:
            held = HeldProcess(row.pid)
        except ProcessLookupError:
            return False
        if held.ref.start_ticks != row.start_ticks:
            held.close()
            return False
        self._held[row.pid, row.start_ticks] = held
        return True

    def find(self, pid: int) -> HeldProcess | None:
        return next((held for held in self.alive if held.ref.pid == pid), None)

    @property
    def alive(self) -> Sequence[HeldProcess]:
        """A zombie is not: it holds no memory, and its pidfd is readable."""
        return [held for held in self._held.values() if not held.has_ended]

    @property
    def left(self) -> tuple[str, ...]:
        """Those that are still there, as "name (pid): why"."""
        return tuple(filter(None, map(_left, self.alive)))

    def send(self, number: signal.Signals) -> bool:
        """To all that are alive; whether there were any. One that is stopped is made to go on and see it."""
        alive = self.alive
        for held in alive:
            send(held, number)
        return bool(alive)

    def __iter__(self) -> Iterator[HeldProcess]:
        return iter(self._held.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for held in self._held.values():
            held.close()


def send(held: HeldProcess, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # gone meanwhile: just what we wanted
        try:
            signal.pidfd_send_signal(held.fileno(), number)
            if number is not signal.SIGKILL and read_stat(held.ref.pid).state in _STOPPED:
                signal.pidfd_send_signal(held.fileno(), signal.SIGCONT)
        except OSError as exc:
            if isinstance(exc, ProcessLookupError):
                raise
            logger.debug("Cannot send %s to process %d: %s", number.name, held.ref.pid, exc.strerror)


def catches(held: HeldProcess, number: signal.Signals) -> bool:
    """Whether it has a handler for that signal (SigCgt in proc_pid_status(5)); without, it may die of it."""
    try:
        with open(f"/proc/{held.ref.pid}/status") as file:
            caught = next((line for line in file if line.startswith("SigCgt:")), "0").rpartition(":")[2]
        return not held.has_ended and bool(int(caught, 16) >> (number - 1) & 1)
    except (OSError, ValueError):
        return False


async def all_gone(processes: Iterable[HeldProcess], seconds: float) -> bool:
    """Whether all of them end within that time, as the kernel tells."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    waiting = {held.fileno() for held in processes if not held.has_ended}

    def ended(fd: int) -> None:
        loop.remove_reader(fd)
        waiting.discard(fd)
        if not waiting and not done.done():
            done.set_result(None)

    for fd in waiting:
        loop.add_reader(fd, ended, fd)
    try:
        if waiting:
            async with asyncio.timeout(seconds):
                await done
    except TimeoutError:
        return False
    finally:
        for fd in waiting:
            loop.remove_reader(fd)
    return True


def _left(held: HeldProcess) -> str:
    try:
        row = read_stat(held.ref.pid)
    except (ProcessLookupError, ValueError):
        return ""
    return f"{row.comm} ({row.pid}): {_WHY.get(row.state, 'does not end')}"
