"""The wardens of the system service: processes of their users, started by systemd when they are needed."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from musterd import __version__
from musterd.core.errors import AccessDenied, Busy, Failed
from musterd.host.process import boot_id
from musterd.host.subuid import is_subordinate
from musterd.ports import Clock
from musterd.warden_port import Warden

from .line import FRAME, Line, LineEnded
from .remote import RemoteWarden

logger = logging.getLogger(__name__)

HELLO_TIMEOUT = 5.0  # seconds from the hand-over of the line to the first word
ARRIVAL_TIMEOUT = 10.0  # seconds from the start of a unit to the first word of its process
RETRY_PAUSE = 5.0  # seconds for which one that could not be started is not tried again
NONSENSE_PAUSE = 60.0  # seconds for which one that cannot be believed is not listened to
LINES = 4  # of one user that have not said hello yet

# Programs of one user that systemd is asked about at a time. dbus-daemon lets it owe us 128 answers, and who
# wants to know of another user, or has a warden to be started, needs one, too.
CANDIDATES = 4


class Units(Protocol):
    """The units that wardens run in. Both raise Failed."""

    async def start(self, uid: int) -> None:
        """Returns when it is starting, or runs already."""

    async def is_theirs(self, uid: int, pid: int) -> bool:
        """Whether the process belongs to the unit of that user's warden."""


@dataclass(frozen=True, slots=True)
class _Down:
    until: float
    why: str


class _OtherVersion(LineEnded):
    """It leaves by itself, and its unit starts what is installed by now."""


class RemoteWardens:
    """Fulfils warden_port.Wardens; the bus brings those who attach."""

    def __init__(self, units: Units, tasks: asyncio.TaskGroup, clock: Clock, interval: float | None) -> None:
        self._clock = clock
        self._units = units
        self._tasks = tasks
        self._interval = interval  # seconds between two sweeps of a warden for new agents, None for none
        self._here: dict[int, RemoteWarden] = {}
        self._lines: set[Line] = set()
        self._new: dict[int, int] = {}  # lines by user that have not said hello yet
        self._candidates: Counter[int] = Counter()  # by user, while systemd is asked about them
        self._running: set[asyncio.Task[None]] = set()
        self._down: dict[int, _Down] = {}
        self._coming: dict[int, asyncio.Future[Warden]] = {}  # that are being started
        self._arrived: asyncio.Queue[Warden] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    # warden_port.Wardens

    def find(self, uid: int) -> Warden | None:
        return self._here.get(uid)

    async def get(self, uid: int) -> Warden:
        if warden := self.find(uid):
            return warden
        self._check_down(uid)
        if is_subordinate(uid):  # else one user could have thousands of wardens started
            raise Failed(f"User {uid} has no account, and no warden.")
        if uid not in self._coming:
            self._coming[uid] = self._loop.create_future()
            self._run(self._start(uid), f"start warden {uid}")
        return await asyncio.shield(self._coming[uid])

    async def arrivals(self) -> AsyncIterator[Warden]:
        while True:
            yield await self._arrived.get()

    # Starting

    def _check_down(self, uid: int) -> None:
        down = self._down.get(uid)
        if down and self._loop.time() < down.until:
            raise Failed(f"The warden of user {uid} is down: {down.why}.")
        self._down.pop(uid, None)

    async def _start(self, uid: int) -> None:
        """Whoever waits for it has it when it comes, or the reason why it does not."""
        coming, why = self._coming[uid], "musterd is stopping"
        try:
            await self._units.start(uid)
            await asyncio.wait([coming], timeout=ARRIVAL_TIMEOUT)
            why = f"it was started, but did not come within {ARRIVAL_TIMEOUT:g} s"
        except Failed as exc:
            why = str(exc).rstrip(".")
        finally:
            del self._coming[uid]
            if not coming.done():
                self._set_down(uid, RETRY_PAUSE, why)
                coming.set_exception(Failed(f"The warden of user {uid} is down: {why}."))
                coming.exception()  # whoever waited may have given up

    def _set_down(self, uid: int, pause: float, why: str) -> None:
        self._down[uid] = _Down(self._loop.time() + pause, why)

    # Attaching

    async def attach(self, uid: int, pid: int) -> int:
        """A caller of that user wants to be its warden -> its end of the line, an fd.

        Raises AccessDenied if the process is not of the unit, Failed and Busy if it is not the time.
        """
        if not await self._is_theirs(uid, pid):
            raise AccessDenied(f"Process {pid} is not the warden of user {uid}.")
        self._check_down(uid)
        if self._new.get(uid, 0) >= LINES:
            raise Busy("Say hello on the line that you have.")
        ours, theirs = socket.socketpair()
        self._new[uid] = self._new.get(uid, 0) + 1
        line = await Line.open(ours, FRAME)
        self._run(self._serve(uid, line), f"line of warden {uid}")
        return theirs.detach()

    async def _is_theirs(self, uid: int, pid: int) -> bool:
        if self._candidates[uid] >= CANDIDATES:
            raise Busy(f"Too many programs of user {uid} want to be its warden at once.")
        self._candidates[uid] += 1
        try:
            return await self._units.is_theirs(uid, pid)
        finally:
            self._candidates -= Counter([uid])  # forgets those that come to nothing

    async def _serve(self, uid: int, line: Line) -> None:
        """From the first word on the line to the last."""
        self._lines.add(line)
        try:
            await self._greet(uid, line)
            await self._listen(uid, line)
        except _OtherVersion as exc:
            logger.info("The warden of user %d is not taken: %s", uid, exc)
        except (LineEnded, ValueError) as exc:
            logger.warning("Who wants to be warden of user %d is not: %s, ignoring", uid, exc)
        except Exception:
            logger.exception("The line of the warden of user %d is broken, ending it", uid)
        finally:
            line.drop()
            self._lines.discard(line)
            await line.ended()

    async def _greet(self, uid: int, line: Line) -> None:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                message, _ = await line.receive()
        except TimeoutError as exc:
            raise LineEnded("it does not say hello") from exc
        finally:
            self._new[uid] -= 1
            if not self._new[uid]:
                del self._new[uid]
        if message.get("hello") != __version__:
            raise _OtherVersion(f"it is of version {str(message.get('hello'))[:64]!r}, not {__version__!r}")
        line.send(welcome={"boot": boot_id(), "interval": self._interval})

    async def _listen(self, uid: int, line: Line) -> None:
        warden = RemoteWarden(uid, line, self._clock, on_bye=lambda: self._leave(warden))
        if before := self._here.get(uid):
            await before.close()
        self._here[uid] = warden
        self._arrived.put_nowait(warden)
        if (coming := self._coming.get(uid)) and not coming.done():
            coming.set_result(warden)
        logger.info("The warden of user %d has come", uid)
        try:
            why = await warden.run()
        finally:
            self._leave(warden)
        logger.log(
            logging.WARNING if warden.is_liar else logging.INFO, "The warden of user %d left: %s", uid, why
        )
        if warden.is_liar:
            # What it says is for the log alone: why a warden is down is told to everybody.
            self._set_down(uid, NONSENSE_PAUSE, "it says what cannot be")

    def _leave(self, warden: RemoteWarden) -> None:
        if self._here.get(warden.uid) is warden:
            del self._here[warden.uid]

    async def close(self) -> None:
        for line in tuple(self._lines):
            line.drop()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._tasks.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
