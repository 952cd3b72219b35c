"""What happens to files by their path: also those that do not exist yet, are replaced, or move away."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial

from musterd.host.inotify import LOST, Inotify, Mask, Notice
from musterd.host.workers import Workers

logger = logging.getLogger(__name__)

CHANGED = Mask.MODIFY | Mask.CLOSE_WRITE | Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE
APPEARED = Mask.CREATE | Mask.MOVED_TO
OPENED = Mask.OPEN | APPEARED

# Seconds until a directory that does not answer is looked at again.
AGAIN = 10.0

# No directory there (yet), or none for us: its parent tells when that changes.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP)


@dataclass(eq=False, slots=True)
class Subscription:
    """One interest in a path. `notify` is told nothing: who cares looks at the file."""

    directory: str
    name: str
    mask: int
    notify: Callable[[], None]
    is_pattern: bool = False
    is_closed: bool = False


@dataclass(slots=True)
class _Directory:
    watch: int
    names: dict[str, list[Subscription]] = field(default_factory=dict)
    patterns: list[Subscription] = field(default_factory=list)

    def add(self, subscription: Subscription) -> None:
        if subscription.is_pattern:
            self.patterns.append(subscription)
        else:
            self.names.setdefault(subscription.name, []).append(subscription)

    def remove(self, subscription: Subscription) -> None:
        if subscription.is_pattern:
            self.patterns.remove(subscription)
            return
        self.names[subscription.name].remove(subscription)
        if not self.names[subscription.name]:
            del self.names[subscription.name]

    def interested(self, notice: Notice) -> list[Subscription]:
        found = [*self.names.get(notice.name, ())]
        found += [s for s in self.patterns if fnmatchcase(notice.name, s.name)]
        return [s for s in found if s.mask & notice.mask]

    def __iter__(self) -> Iterator[Subscription]:
        for subscriptions in [*self.names.values(), self.patterns]:
            yield from list(subscriptions)


@dataclass(slots=True)
class _Missing:
    """A directory that is not there, who waits for it, and our own interest in its parent."""

    parent: Subscription
    waiting: list[Subscription]


class Files:
    """Watches directories, not files: so a file may be created, rotated or replaced by rename.

    In the loop, it names paths to inotify_add_watch(2) and to nothing else. They were looked at just before,
    in a thread that may hang, and their file system answered: who subscribes sees to that, and later we do.
    """

    def __init__(self) -> None:
        self._inotify = Inotify(self._receive)
        self._directories: dict[str, _Directory] = {}
        self._paths: dict[int, set[str]] = {}  # several paths may lead to one directory: one watch
        self._missing: dict[str, _Missing] = {}
        self._lost: list[Subscription] = []  # to be attached again, once their directories were looked at
        self._restoring: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._workers = Workers()

    def subscribe(
        self, path: str, notify: Callable[[], None], mask: int = CHANGED, *, is_pattern: bool = False
    ) -> Subscription:
        """Tell of changes of the file `path`; its last part may be a pattern as of fnmatch(3).

        OSError (ENOSPC: the user has no watches left).
        """
        directory, name = os.path.split(os.path.normpath(path))
        subscription = Subscription(directory, name, mask, notify, is_pattern)
        self._attach(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        if subscription.is_closed:
            return
        subscription.is_closed = True
        path = subscription.directory
        missing, directory = self._missing.get(path), self._directories.get(path)
        if missing and subscription in missing.waiting:
            missing.waiting.remove(subscription)
            if not missing.waiting:
                del self._missing[path]
                self.unsubscribe(missing.parent)
        elif directory and subscription in directory:
            directory.remove(subscription)
            if not any(directory):
                self._drop(path)

    def close(self) -> None:
        self._lost.clear()
        if self._restoring:
            self._restoring.cancel()
        for timer in self._timers:
            timer.cancel()
        self._inotify.close()
        self._directories.clear()
        self._missing.clear()

    def _attach(self, subscription: Subscription) -> None:
        path = subscription.directory
        try:
            watch = self._inotify.add(path, subscription.mask | Mask.DELETE_SELF | Mask.MOVE_SELF)
        except OSError as exc:
            if exc.errno not in _NOT_THERE or path == "/":
                raise
            self._wait_for(path, subscription)
            return
        known = self._directories.get(path)
        if known is None or known.watch != watch:
            earlier = self._drop(path)
            known = self._directories[path] = _Directory(watch)
            self._paths.setdefault(watch, set()).add(path)
            self._lose(earlier)
        known.add(subscription)

    def _wait_for(self, path: str, subscription: Subscription) -> None:
        if path in self._missing:
            self._missing[path].waiting.append(subscription)
            return
        parent = Subscription(*os.path.split(path), APPEARED, lambda: self._retry(path))
        self._missing[path] = _Missing(parent, [subscription])
        self._attach(parent)
        if self._is_there(path):
            self._retry(path)  # it was created between the two looks

    def _is_there(self, path: str) -> bool:
        try:
            self._inotify.add(path, Mask.DELETE_SELF | Mask.MOVE_SELF)
        except OSError:
            return False
        return True

    def _retry(self, path: str) -> None:
        missing = self._missing.pop(path, None)
        if missing:
            self.unsubscribe(missing.parent)
            self._lose(missing.waiting)

    def _lose(self, subscriptions: Iterable[Subscription]) -> None:
        """They are attached again, in the background."""
        self._lost += subscriptions
        if self._lost and (self._restoring is None or self._restoring.done()):
            self._restoring = asyncio.get_running_loop().create_task(self._restore())

    async def _restore(self) -> None:
        while self._lost:
            lost, self._lost = self._lost, []
            paths = dict.fromkeys(subscription.directory for subscription in lost)
            looks = await self._workers.each((path, partial(os.path.exists, path)) for path in paths)
            for subscription in lost:
                if subscription.is_closed:
                    continue
                if isinstance(looks[subscription.directory], Exception):
                    self._lose_later(subscription)
                else:
                    self._attach_again(subscription)

    def _lose_later(self, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()

        def lose() -> None:
            self._timers.discard(timer)
            self._lose([subscription])

        timer = loop.call_later(AGAIN, lose)
        self._timers.add(timer)

    def _attach_again(self, subscription: Subscription) -> None:
        try:
            self._attach(subscription)
        except OSError as exc:
            logger.warning("Cannot watch '%s': %s, ignoring", subscription.directory, exc.strerror)
        else:
            subscription.notify()  # nobody knows what happened meanwhile

    def _drop(self, path: str) -> list[Subscription]:
        """Forget the watch of a directory; returns who was interested in it."""
        directory = self._directories.pop(path, None)
        if directory is None:
            return []
        paths = self._paths.get(directory.watch, set())
        paths.discard(path)
        if not paths:
            self._paths.pop(directory.watch, None)
            self._inotify.remove(directory.watch)
        return list(directory)

    def _receive(self, notice: Notice) -> None:
        if notice.mask & Mask.Q_OVERFLOW:
            logger.debug("inotify lost events, looking at everything again")
            self._renew(list(self._directories))
        elif notice.mask & LOST:
            self._renew(list(self._paths.get(notice.watch, ())))
        else:
            for path in list(self._paths.get(notice.watch, ())):
                directory = self._directories.get(path)
                for subscription in directory.interested(notice) if directory else ():
                    if not subscription.is_closed:
                        subscription.notify()

    def _renew(self, paths: list[str]) -> None:
        for path in paths:
            self._lose(self._drop(path))
