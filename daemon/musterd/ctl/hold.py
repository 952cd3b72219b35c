"""`hold`: an inhibitor that lives as long as a command runs, or until Ctrl-C.

It lives by an fd of this process: whatever ends musterctl, ends the hold.
"""

import asyncio
import os
import shlex
import signal
import sys
from argparse import Namespace

from musterd.bus.names import MANAGER

from . import sessions
from .child import started
from .client import Client
from .text import printable


async def run(client: Client, args: Namespace) -> int:
    session_id = "" if args.all else (await sessions.resolve(client, args.id))[0]
    why = args.why or (shlex.join(args.rest) if args.rest else "held by hand")
    fd = await client.call_for_fd(
        MANAGER, "Inhibit", "sssss", args.what, "musterctl", why, args.mode, session_id
    )
    try:
        return await _run_command(args.rest) if args.rest else await _wait(session_id)
    finally:
        os.close(fd)


async def _wait(session_id: str) -> int:
    whom = f"session '{printable(session_id)}'" if session_id else "all your sessions"
    print(f"Holding {whom}; Ctrl-C ends it.", file=sys.stderr, flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    return 0


async def _run_command(command: list[str]) -> int:
    """The command's exit status, or 128 and the number of the signal that ended it, as shells have it."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: None)  # caught from here on, and handled in a later turn
    async with started(command, name=f"'{command[0]}'") as process:
        loop.add_signal_handler(signal.SIGTERM, process.terminate)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal sends it to the command, too
        status = await process.wait()
    return status if status >= 0 else 128 - status
