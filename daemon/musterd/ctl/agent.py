"""polkit's own agent for a terminal: asks for the password where the order was typed."""

import asyncio
import os
import shutil
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

START_TIMEOUT = 10.0  # seconds until polkit knows it, on a busy machine
STOP_TIMEOUT = 5.0


@asynccontextmanager
async def text_agent() -> AsyncIterator[None]:
    """While it is open, who sits at this terminal can be asked. Without the program, only a desktop asks."""
    program = shutil.which("pkttyagent")
    if program is None:
        yield
        return
    settings = termios.tcgetattr(sys.stdin)
    process = await _start(program)
    try:
        yield
    finally:
        await _stop(process)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)  # it may have been reading a password


async def _start(program: str) -> asyncio.subprocess.Process:
    """It closes its end of the pipe when polkit knows it, or when it has failed and said why."""
    read, write = os.pipe()
    try:
        # Not as a --fallback: polkit passes that over for who is in no session of logind's, as after su.
        options = ("--process", str(os.getpid()), "--notify-fd", str(write))
        process = await asyncio.create_subprocess_exec(program, *options, pass_fds=[write])
    finally:
        os.close(write)
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    loop.add_reader(read, closed.set)
    try:
        with suppress(TimeoutError):  # then polkit asks nobody, and says no
            async with asyncio.timeout(START_TIMEOUT):
                await closed.wait()
    finally:
        loop.remove_reader(read)
        os.close(read)
    return process


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
