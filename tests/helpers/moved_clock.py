"""The real daemon on a machine whose clocks are moved: `python -m helpers.moved_clock FILE ARGUMENT...`.

No test may set the clock of the machine that it runs on, or suspend it. So what the kernel says of time
comes through here: its clocks, the times of files, the start times of processes. FILE has a line for each
time that the clocks were moved; a stamp is as far off as the clock was when the stamp was made.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

from helpers.programs import until

_clock_ns, _stat = time.clock_gettime_ns, os.stat
_COARSE = 5  # CLOCK_REALTIME_COARSE, of which Python knows nothing
_SECOND = 1_000_000_000
_TICK = _SECOND // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Move:
    """From a moment of the true clock on, how far the others are ahead of theirs, in ns."""

    since: int = 0
    realtime: int = 0
    boottime: int = 0
    monotonic: int = 0


class Moves:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._size, self._read = 0, [Move()]

    def all(self) -> list[Move]:
        if (size := _stat(self.path).st_size) != self._size:
            lines = self.path.read_text().splitlines()
            self._size, self._read = size, [Move(), *(Move(*map(int, line.split())) for line in lines)]
        return self._read

    def at(self, true: int) -> Move:
        """As it was then."""
        return next(move for move in reversed(self.all()) if move.since <= true)

    def _move(self, realtime: float, boottime: float, monotonic: float) -> None:
        now = self.all()[-1]
        moved = replace(
            now,
            since=_clock_ns(time.CLOCK_REALTIME),
            realtime=now.realtime + int(realtime * _SECOND),
            boottime=now.boottime + int(boottime * _SECOND),
            monotonic=now.monotonic + int(monotonic * _SECOND),
        )
        with self.path.open("a") as file:
            file.write(" ".join(map(str, astuple(moved))) + "\n")
        # Times of files are those of the latest tick.
        until(lambda: _clock_ns(_COARSE) > moved.since, "a tick later")

    def suspend(self, seconds: float) -> None:
        self._move(seconds, seconds, 0)

    def set(self, seconds: float) -> None:
        self._move(seconds, 0, 0)

    def let_pass(self, seconds: float) -> None:
        """Awake. Timers are not moved: nothing runs into its time-out by that."""
        self._move(seconds, seconds, seconds)


def _moved_clock(moves: Moves) -> Callable[[int], int]:
    names = {
        time.CLOCK_REALTIME: "realtime",
        time.CLOCK_BOOTTIME: "boottime",
        time.CLOCK_MONOTONIC: "monotonic",
    }

    def clock_gettime_ns(clock: int) -> int:
        ahead: int = getattr(moves.all()[-1], names[clock]) if clock in names else 0
        return _clock_ns(clock) + ahead

    return clock_gettime_ns


def _moved_stat(moves: Moves, stat: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
    @wraps(stat)
    def moved(*args: Any, **options: Any) -> os.stat_result:
        result = stat(*args, **options)
        more = {name: getattr(result, name) for name in dir(result) if name.startswith("st_")}
        for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns"):
            more[name] += moves.at(more[name]).realtime
            more[name.removesuffix("_ns")] = more[name] / _SECOND
        return os.stat_result(tuple(result), more)

    return moved


def _moved_start(moves: Moves, parse: Callable[..., Any]) -> Callable[..., Any]:
    def parse_stat(*args: Any) -> Any:
        stat = parse(*args)
        boot = _clock_ns(time.CLOCK_REALTIME) - _clock_ns(time.CLOCK_BOOTTIME)
        ahead = moves.at(boot + stat.start_ticks * _TICK).boottime
        return stat._replace(start_ticks=stat.start_ticks + ahead // _TICK)

    return parse_stat


def main() -> int:
    _, path, *sys.argv[1:] = sys.argv
    moves = Moves(Path(path))
    clock_ns = _moved_clock(moves)
    time.clock_gettime_ns = clock_ns
    time.time_ns = lambda: clock_ns(time.CLOCK_REALTIME)
    time.time = lambda: clock_ns(time.CLOCK_REALTIME) / _SECOND
    for name in ("stat", "fstat", "lstat"):
        setattr(os, name, _moved_stat(moves, getattr(os, name)))
    # Whoever imports it from here on gets ours.
    from musterd.host import process

    process.parse_stat = _moved_start(moves, process.parse_stat)
    from helpers.patience import be_patient
    from musterd.main import main as run

    be_patient()
    return run()


if __name__ == "__main__":
    sys.exit(main())
