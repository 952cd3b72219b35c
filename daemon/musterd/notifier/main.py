"""musterd-notify, the program: arguments, both buses, and the end."""

import musterd.lean  # noqa: F401 - before all others: it keeps the program small

# isort: split
import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from musterd import __version__
from musterd.bus.connection import BusConnection, BusState
from musterd.bus.errors import BusError, NameTaken
from musterd.bus.names import BUS_NAME

from .desktop import Desktop
from .inbox import Inbox
from .post import CLOSE_TIMEOUT, Post
from .watch import Musterd

logger = logging.getLogger(__name__)

# On the session bus: two of us would show everything twice.
NAME = f"{BUS_NAME}.Notify"


@dataclass(frozen=True, slots=True)
class Options:
    bus: str
    session_bus: str
    is_dry_run_too: bool
    log_level: str


def parse_arguments(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="musterd-notify",
        description="Tells you before and after musterd ends an idle agent of yours, and takes your answer. "
        "What you choose to keep is held for an hour by this program: the hold ends when it does.",
    )
    bus = parser.add_mutually_exclusive_group()
    bus.add_argument("--system", action="store_true", help="musterd is on the system bus (default)")
    bus.add_argument("--user", action="store_true", help="musterd is on the session bus")
    bus.add_argument("--bus", metavar="ADDRESS", default="", help="musterd is on this bus")
    parser.add_argument("--session-bus", metavar="ADDRESS", default="session", help="of the desktop")
    parser.add_argument(
        "--dry-run-too", action="store_true", help="tell what a dry run would have ended, too"
    )
    levels = ("debug", "info", "warning", "error")
    parser.add_argument("--log-level", metavar="LEVEL", default="info", choices=levels)
    parser.add_argument("--version", action="version", version=f"musterd {__version__}")
    given = parser.parse_args(argv)
    chosen = "session" if given.user else "system" if given.system else given.bus
    address = chosen or os.environ.get("MUSTERD_BUS") or "system"
    return Options(
        {"user": "session"}.get(address, address), given.session_bus, given.dry_run_too, given.log_level
    )


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_arguments(argv)
    logging.basicConfig(format="musterd-notify: %(message)s", level=options.log_level.upper())
    return asyncio.run(serve(options))


async def serve(options: Options) -> int:
    """Run until told to stop -> the exit status, 1 if a bus cannot be had at the start."""
    failures: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
            await _serve(options, tasks, stack)
    except* NameTaken:
        logger.info("Another musterd-notify shows what there is to show here")
    except* BusError as group:
        failures += group.exceptions
    for failure in failures:
        logger.error("%s", failure)
    return 1 if failures else 0


async def _serve(options: Options, tasks: asyncio.TaskGroup, stack: AsyncExitStack) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def session_changed(state: BusState, reason: str) -> None:
        if state is BusState.REPLACED:
            logger.info("Giving up: %s", reason)
            stop.set()

    inbox = Inbox()
    musterd_bus = await stack.enter_async_context(BusConnection.open(options.bus, tasks))
    session_bus = await stack.enter_async_context(
        BusConnection.open(options.session_bus, tasks, NAME, on_state=session_changed)
    )
    musterd = Musterd(musterd_bus, inbox.put, os.getuid())
    desktop = Desktop(session_bus, inbox.put)
    post = Post(inbox, musterd, desktop, dry_run_too=options.is_dry_run_too)
    stack.push_async_callback(post.close)
    await desktop.start()
    await musterd.start()
    worker = tasks.create_task(post.run(), name="post")
    logger.info("Telling of what musterd on bus '%s' does", options.bus)
    await stop.wait()
    inbox.close()
    await asyncio.wait([worker], timeout=CLOSE_TIMEOUT)
    worker.cancel()


if __name__ == "__main__":
    sys.exit(main())
