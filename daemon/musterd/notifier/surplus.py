"""What is too much: counted, and told as a sum a little later."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from .pace import Pace
from .topics import Held, LetGo, More, News, Prepare, Reaped

SUM_UP_PAUSE = 10.0  # seconds between two sums


class Surplus:
    """Made in a running loop. `due` is called when what was too much is to be summed up."""

    def __init__(self, due: Callable[[], None]) -> None:
        self._tell_due = due
        self._loop = asyncio.get_running_loop()
        self._pace = Pace()
        self._more = More()
        self._due: asyncio.TimerHandle | None = None
        self._summed_up = -SUM_UP_PAUSE  # in the loop's time

    def close(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def begin_anew(self) -> None:
        """A service that is new has not had too much yet."""
        self._pace = Pace()

    def admits(self) -> bool:
        """Whether one more notification is fine now; if so, it counts."""
        if not self._pace.admits(self._loop.time()):
            return False
        if self._due is None:
            self._more = More()  # those were told; what is too much from now on is counted anew
        return True

    def count(self, event: News) -> None:
        more = self._more
        match event:
            case Held():
                return  # not worth a line
            case LetGo():
                self._more = replace(more, unfinished=more.unfinished + 1)
            case Prepare():
                self._more = replace(more, threatened=more.threatened + 1)
            case Reaped(is_dry_run=True):
                self._more = replace(more, pretended=more.pretended + 1)
            case Reaped():
                self._more = replace(more, ended=more.ended + 1)
        if self._due is None:
            at = max(self._loop.time(), self._summed_up + SUM_UP_PAUSE)
            self._due = self._loop.call_at(at, self._tell_due)

    def sum_up(self) -> More:
        self._due = None
        self._summed_up = self._loop.time()
        return self._more
