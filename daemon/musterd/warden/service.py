"""musterd-warden, the program: the warden of whoever runs it, at the service of the system's musterd.

It calls, gets a line, and answers on it for as long as its user has sessions. Nothing that it is told makes
it do more than its user could; nothing that it says is believed about another user.
"""

import musterd.lean  # noqa: F401 - before all others: it keeps the program small

# isort: split
import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from dbus_fast import MessageFlag

from musterd import __version__
from musterd.agents.catalog import ADAPTERS
from musterd.bus.connection import BusConnection
from musterd.bus.errors import BusError
from musterd.bus.names import BUS_NAME, ROOT, WARDENS
from musterd.bus.writer import close_fds
from musterd.host.clock import HostClock
from musterd.host.collector import settle
from musterd.host.journal import setup_logging
from musterd.host.notify import Notifier
from musterd.host.process import adopt_boot_id
from musterd.host.ticks import next_tick

from .answers import Answers
from .line import ORDER, Line, LineEnded
from .local import LocalWarden

logger = logging.getLogger(__name__)

ATTACH_TIMEOUT = 10.0  # seconds
WELCOME_TIMEOUT = 10.0  # seconds; a daemon that has just started has much to do
PATIENCE = 60.0  # seconds without a daemon after which there is nothing to do here
BACKOFF = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds between two calls; the last one repeats
ROUND = 30.0  # seconds between two looks at whether it is still needed
IDLE = 600.0  # seconds without sessions and questions after which it is not
ANEW = os.EX_TEMPFAIL  # exit status for which its unit has it started again, as what is installed by now


@dataclass(frozen=True, slots=True)
class Options:
    bus: str
    idle: float
    log_level: str


def parse_arguments(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="musterd-warden",
        description="Looks after the sessions of the user who runs it, for the musterd of the system. "
        "systemd starts it when it is needed.",
    )
    bus = os.environ.get("MUSTERD_BUS", "") or "system"
    parser.add_argument("--bus", metavar="ADDRESS", default=bus, help="musterd is on this bus")
    help_ = "stop after that long without a session (default: 600)"
    parser.add_argument("--idle", metavar="SECONDS", type=float, default=IDLE, help=help_)
    levels = ("debug", "info", "warning", "error")
    parser.add_argument("--log-level", metavar="LEVEL", default="info", choices=levels)
    parser.add_argument("--version", action="version", version=f"musterd {__version__}")
    given = parser.parse_args(argv)
    return Options(given.bus, given.idle, given.log_level)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_arguments(argv)
    setup_logging(options.log_level)
    # A system unit has no login session around it; tmux and systemd of the user are found through this.
    os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return asyncio.run(serve(options))


async def serve(options: Options) -> int:
    """Until it is told to stop, or not needed -> the exit status: 1 without a bus, `ANEW` if not wanted."""
    stop = asyncio.Event()
    is_unwelcome = False
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    failures: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
            bus = await stack.enter_async_context(BusConnection.open(options.bus, tasks))
            notifier = Notifier()
            stack.callback(notifier.close)
            notifier.ready("Calling musterd")
            service = WardenService(bus, options, notifier, stop)
            parts = [tasks.create_task(service.run()), tasks.create_task(service.rounds())]
            await stop.wait()
            notifier.stopping("Stopping")
            for part in parts:
                part.cancel()
            await asyncio.wait(parts)
            is_unwelcome = service.is_unwelcome
    except* BusError as group:
        failures += group.exceptions
    for failure in failures:
        logger.error("%s", failure)
    if failures:
        return 1
    return ANEW if is_unwelcome else 0


class Unwelcome(LineEnded):
    """musterd ended the line before it said a word."""


class WardenService:
    """One line after the other, and the rounds that show it alive, or not needed."""

    def __init__(
        self, bus: BusConnection, options: Options, notifier: Notifier, stop: asyncio.Event
    ) -> None:
        self._bus = bus
        self._address = options.bus
        self._idle = options.idle
        self._notifier = notifier
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._answers: Answers | None = None
        self.is_unwelcome = False  # to the musterd that there is

    async def run(self) -> None:
        """Until there is nothing to do here any more."""
        last_served, attempt = self._loop.time(), 0
        settle()
        while not self._stop.is_set():
            try:
                await self._serve(await self._attach())
            except Unwelcome as exc:
                self.is_unwelcome = True
                self._leave(f"musterd, perhaps of another version, does not want this warden: {exc}")
            except (BusError, LineEnded) as exc:
                if self._answers:
                    last_served, attempt = self._loop.time(), 0
                    self._answers = None
                logger.info("musterd is away: %s", exc)
                if self._loop.time() - last_served > PATIENCE:
                    self._leave("musterd is away, and will start a warden when it needs one")
                await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
                attempt += 1

    async def _attach(self) -> socket.socket:
        """The line that musterd hands out. It is not started for that."""
        flags = MessageFlag.NO_AUTOSTART
        reply = await self._bus.call(
            BUS_NAME, ROOT, WARDENS, "Attach", within=ATTACH_TIMEOUT, takes_fds=True, flags=flags
        )
        if len(reply.fds) != 1:
            close_fds(reply.fds)
            raise LineEnded("it hands out no line")
        return socket.socket(fileno=reply.fds[0])

    async def _serve(self, sock: socket.socket) -> None:
        line = await Line.open(sock, ORDER)
        try:
            line.send(hello=__version__)
            boot, interval = await self._welcomed(line)
            adopt_boot_id(boot)
            await self._look_after(line, interval)
        except ValueError as exc:
            raise LineEnded(f"it is not understood: {exc}") from exc
        finally:
            line.drop()
            await line.ended()

    async def _welcomed(self, line: Line) -> tuple[str, float | None]:
        """What this boot is called, and the seconds between two sweeps, None for none."""
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT):
                message, _ = await line.receive()
            return _welcome(message)
        except (LineEnded, ValueError, TimeoutError) as exc:
            raise Unwelcome(str(exc) or "it says nothing") from exc

    async def _look_after(self, line: Line, interval: float | None) -> None:
        home = os.environ.get("HOME") or str(Path.home())
        warden = LocalWarden(
            os.getuid(), list(ADAPTERS.values()), HostClock(), home, bus=self._address, interval=interval
        )
        try:
            self._answers = Answers(warden, line)
            self._tell_status()
            await self._answers.run()
        finally:
            await warden.close()

    async def rounds(self) -> None:
        while True:
            await next_tick(min(self._notifier.watchdog_interval or ROUND, max(self._idle / 2, 0.05)))
            self._notifier.watchdog()
            self._tell_status()
            answers = self._answers
            if answers and answers.is_idle and self._loop.time() - answers.last_call > self._idle:
                answers.say_goodbye()
                self._leave("there is nothing left to look after")

    def _leave(self, why: str) -> None:
        """No failure: systemd need not start another one."""
        logger.info("Leaving: %s", why)
        self._stop.set()

    def _tell_status(self) -> None:
        if self._answers:
            count = self._answers.count
            self._notifier.status(f"Looking after {count} session{'' if count == 1 else 's'}")


def _welcome(message: Mapping[str, object]) -> tuple[str, float | None]:
    match message.get("welcome"):
        case {"boot": str(boot), "interval": float() | int() | None as interval}:
            return boot, interval
    raise ValueError("it says no welcome")


if __name__ == "__main__":
    sys.exit(main())
