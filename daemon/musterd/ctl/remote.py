"""Another host's bus: ssh and systemd-stdio-bridge, as `systemctl -H` does it.

The library connects to sockets only, so ssh gets one end of a socket that nobody else can reach.
"""

import asyncio
import re
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from .child import started
from .client import Where
from .failure import Misused

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
    near, _ = await asyncio.get_running_loop().sock_accept(listener)
    with near:
        async with started(command, near.fileno(), name="ssh") as ssh:
            near.close()  # ssh alone has it: when it ends, so does the connection
            try:
                await ssh.has_ended.wait()
            finally:
                await ssh.end(END_TIMEOUT)
