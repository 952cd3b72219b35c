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
    near, _ = await asyncio.get_running_loop().sock_accept(listener)
    with near:
        try:
            ssh = await asyncio.create_subprocess_exec(*command, stdin=near.fileno(), stdout=near.fileno())
        except OSError as exc:
            raise CtlError(f"Cannot run ssh: {exc.strerror}.") from exc
    try:
        await ssh.wait()
    finally:
        await _end(ssh)


async def _end(ssh: asyncio.subprocess.Process) -> None:
    if ssh.returncode is not None:
        return
    ssh.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(END_TIMEOUT):
            await ssh.wait()
            return
    ssh.kill()
    await ssh.wait()
