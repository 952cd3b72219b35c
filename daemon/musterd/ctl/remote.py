"""Another host's bus: ssh and systemd-stdio-bridge, as `systemctl -H` does it.

The library connects to sockets only, so ssh gets one end of a socket that nobody else can reach.
"""

import asyncio
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from .client import Where
from .failure import CtlError, Misused

END_TIMEOUT = 2.0  # seconds for ssh to notice that we are done


def bridge_command(where: Where) -> list[str]:
    """The argument list: `USER@HOST` or `USER@HOST:PORT`, the remote end chosen as here."""
    match = re.fullmatch(r"([^-:\s][^:\s]*)(?::(\d{1,5}))?", where.host)
    if not match:
        raise Misused(f"'{where.host}' is not [USER@]HOST[:PORT].")
    port = ["-p", match[2]] if match[2] else []
    far = {"system": [], "session": ["--user"]}.get(where.address, ["-p", where.address])
    return ["ssh", "-xT", *port, "--", match[1], "systemd-stdio-bridge", *far]


@asynccontextmanager
async def bridge(where: Where) -> AsyncIterator[str]:
    """The address of a local socket that leads to that bus."""
    command = bridge_command(where)
    with tempfile.TemporaryDirectory(prefix="musterctl-") as directory:  # mode 0700
        path = str(Path(directory) / "bus")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.setblocking(False)
            relay = asyncio.create_task(_relay(listener, command))
            try:
                yield f"unix:path={path}"
            finally:
                relay.cancel()
                with suppress(asyncio.CancelledError):
                    await relay


async def _relay(listener: socket.socket, command: list[str]) -> None:
    """Not by asyncio's own subprocesses: they complain on stderr of one that ended before its signal."""
    loop = asyncio.get_running_loop()
    near, _ = await loop.sock_accept(listener)
    with near:
        ssh = _start(command, near.fileno())
    pidfd = os.pidfd_open(ssh.pid)
    has_ended = asyncio.Event()
    loop.add_reader(pidfd, has_ended.set)
    try:
        await has_ended.wait()
    finally:
        await _end(ssh, has_ended)
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _start(command: list[str], near: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdin=near, stdout=near)
    except OSError as exc:
        raise CtlError(f"Cannot run ssh: {exc.strerror}.") from exc


async def _end(ssh: subprocess.Popen[bytes], has_ended: asyncio.Event) -> None:
    ssh.terminate()  # nothing, if it has ended already
    try:
        async with asyncio.timeout(END_TIMEOUT):
            await has_ended.wait()
    except TimeoutError:
        ssh.kill()
    ssh.wait()
