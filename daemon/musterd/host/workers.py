"""Threads for what may never return: a user's files can be on a network, or served by a program."""

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

PATIENCE = 2.0  # seconds for one job
THREADS = 4  # that may hang at the same time; then nothing more is begun

Result = TypeVar("Result")


class Hung(OSError):
    """It did not come back in time, or has not come back since an earlier time."""

    def __init__(self) -> None:
        super().__init__(errno.ETIMEDOUT, "it does not answer")


class Workers:
    """Does jobs aside from the loop. One that hangs is left to its thread, and not begun again until then.

    Jobs must change nothing that others see: one that hung may still come to its end, much later. The
    threads are no reason to stay: asyncio's own, or an executor's, would keep the program from its end.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._hanging: set[str] = set()
        self._keepers = 0
        self._waiting: list[_Thread] = []

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it, a thread that is done waits for more to do."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1
            while self._waiting and not self._keepers:
                self._waiting.pop().end()

    async def do(self, key: str, work: Callable[[], Result]) -> Result:
        """One job; raises what it raises, or Hung."""
        result = (await self.each([(key, work)]))[key]
        if isinstance(result, Exception):
            raise result
        return result

    async def each(
        self, jobs: Iterable[tuple[str, Callable[[], Result]]]
    ) -> Mapping[str, Result | Exception]:
        """All of them, one after the other in one thread -> by key, what each returned or raised."""
        jobs, results = list(jobs), dict[str, Result | Exception]()
        while True:
            results |= {key: Hung() for key, _ in jobs if key not in results and self._is_hopeless(key)}
            jobs = [job for job in jobs if job[0] not in results]
            if not jobs:
                return results
            turn = _Turn(jobs, self._hanging)
            await self._take(turn)
            results |= turn.results

    async def _take(self, turn: "_Turn[Result]") -> None:
        try:
            thread = self._waiting.pop() if self._waiting else _Thread()
        except RuntimeError:  # the system has no more of them
            turn.fail(OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
            return
        thread.do(turn.work)
        is_kept = self._keepers > 0
        if not is_kept:
            thread.end()
        try:
            await turn.wait()
        finally:
            if is_kept and turn.is_done and self._keepers:
                self._waiting.append(thread)
            elif is_kept:
                thread.end()

    def _is_hopeless(self, key: str) -> bool:
        return key in self._hanging or len(self._hanging) >= self._threads


class _Thread:
    """Does what it is told, one after the other, until its end is ordered, too."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name="visit", daemon=True).start()

    def do(self, work: Callable[[], None]) -> None:
        self._orders.put(work)

    def end(self) -> None:
        self._orders.put(None)

    def _run(self) -> None:
        while work := self._orders.get():
            work()
            del work  # and what came of it, while there is nothing to do


class _Turn(Generic[Result]):
    """Jobs for one thread, and how far it has come. It ends with the last job, or the first that hangs."""

    def __init__(self, jobs: Sequence[tuple[str, Callable[[], Result]]], hanging: set[str]) -> None:
        self.results: dict[str, Result | Exception] = {}
        self._jobs = jobs
        self._hanging = hanging
        self._lock = threading.Lock()  # around what both threads write
        self._current = ""
        self._began = time.monotonic()
        self._is_given_up = False
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def fail(self, exc: OSError) -> None:
        self.results = {key: exc for key, _ in self._jobs}

    async def wait(self) -> None:
        try:
            while not self._done.is_set() and (left := self._began + PATIENCE - time.monotonic()) > 0:
                with suppress(TimeoutError):  # wait_for() of Python 3.11 may lose a cancellation
                    async with asyncio.timeout(left):
                        await self._done.wait()
        finally:
            self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            self._is_given_up = True
            if self._current:
                self._hanging.add(self._current)
                self.results[self._current] = Hung()

    def work(self) -> None:
        """In the thread."""
        for key, work in self._jobs:
            with self._lock:
                if self._is_given_up:
                    return
                self._current, self._began = key, time.monotonic()
            result = _outcome(work)
            with self._lock:
                self._current = ""
                if self._is_given_up:
                    self._hanging.discard(key)
                    return
                self.results[key] = result
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._done.set)


def _outcome(work: Callable[[], Result]) -> Result | Exception:
    try:
        return work()
    except Exception as exc:  # noqa: BLE001 - whoever asked for it gets it
        return exc
