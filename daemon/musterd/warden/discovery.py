"""When to look for new agents: a program opens its configuration when it starts, and inotify tells."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from musterd.core.errors import MusterError
from musterd.host.files import OPENED, Files, Subscription
from musterd.host.ticks import until_tick
from musterd.host.workers import Workers

logger = logging.getLogger(__name__)

# An interpreter opens an agent's files before, or a while after, /proc shows the agent: look twice.
DELAYS = (0.3, 1.5)  # seconds

# A program that opens these files all the time must not keep us looking: this share of one processor at the
# most. That a look takes long where others are busy is no reason to look later still. What was saved up
# before is not counted: many agents that start at once are worth more than one look.
LARGEST_SHARE = 0.05
SAVED_UP = 2.0  # seconds of looking


class Discovery:
    """Calls `sweep` at once, and shortly after one of the files was opened."""

    def __init__(
        self, files: Files, paths: Iterable[str], sweep: Callable[[], Awaitable[None]], interval: float
    ) -> None:
        self._files = files
        self._sweep = sweep
        self._interval = interval  # seconds after which to look even so: not every agent opens a known file
        self._due: dict[float, asyncio.TimerHandle] = {}
        self._wanted = asyncio.Event()
        self._debt = 0.0  # seconds of a processor that were spent on sweeps, less what time has paid back
        self._paid_at = time.monotonic()
        self._paths = sorted(set(paths))
        self._workers = Workers()
        self._subscriptions: list[Subscription] = []
        self._listening = asyncio.get_running_loop().create_task(self._listen())
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def start(self) -> None:
        """From now on. Not before the sessions that are known are watched: they would be found anew."""
        if self._task is None and not self._is_closed:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        self._is_closed = True
        for timer in self._due.values():
            timer.cancel()
        tasks = [self._listening, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for subscription in self._subscriptions:
            self._files.unsubscribe(subscription)

    async def _listen(self) -> None:
        """Of directories that do not answer we are told nothing: whoever watched them would hang, too."""
        found = await self._workers.each((path, partial(_is_there, path)) for path in self._paths)
        for path in self._paths:
            try:
                is_there = found[path]
                if isinstance(is_there, Exception):
                    raise is_there
                mine = self._files.subscribe(path, self._opened, OPENED, is_pattern=not is_there)
            except OSError as exc:
                logger.warning("Cannot watch '%s' for new agents: %s, ignoring", path, exc.strerror)
            else:
                self._subscriptions.append(mine)

    def _opened(self) -> None:
        loop = asyncio.get_running_loop()
        rest = (self._spend(0.0) - SAVED_UP) / LARGEST_SHARE
        for delay in DELAYS:
            if delay not in self._due:
                pause = max(delay, rest)
                self._due[delay] = loop.call_later(pause, self._fire, delay)

    def _fire(self, delay: float) -> None:
        del self._due[delay]
        self._wanted.set()

    def _spend(self, seconds: float) -> float:
        """What is owed after that."""
        before, self._paid_at = self._paid_at, time.monotonic()
        self._debt = max(self._debt - (self._paid_at - before) * LARGEST_SHARE, 0.0) + seconds
        return self._debt

    async def _run(self) -> None:
        await self._listening
        while True:
            began = time.process_time()
            try:
                await self._sweep()
            except MusterError as exc:
                logger.warning("%s, ignoring", str(exc).rstrip("."))
            except Exception:
                logger.exception("Cannot look for new agents, ignoring")
            self._spend(time.process_time() - began)
            with suppress(TimeoutError):  # wait_for() of Python 3.11 may lose a cancellation
                async with asyncio.timeout(until_tick(self._interval)):
                    await self._wanted.wait()
            self._wanted.clear()


def _is_there(path: str) -> bool:
    return os.path.lexists(path)
