"""The daemon of the system: as its own user, behind its own policy, with wardens of several users."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.daemon import ALONE, NAME, ROOT, CallFailed, Daemon
from helpers.fake_polkit import FakePolkit, fake_polkit
from helpers.fake_systemd import FakeSystemd, fake_systemd
from helpers.patience import SHORTER
from helpers.policed_bus import PolicedBus
from helpers.private_bus import PrivateBus
from helpers.users import MUSTERD, PYTHON, as_user, environ, home_of

PATIENCE = 60.0  # seconds for a call; a busy machine


class SystemDaemon(Daemon):
    """`musterd --system` as user `MUSTERD`."""

    def __init__(self, directory: Path, bus: PrivateBus, config: str, patience: float) -> None:
        work = home_of(directory, MUSTERD)
        super().__init__(work, bus, config, home=work)
        self._directory = directory
        self._patience = patience

    @property
    def command(self) -> list[str]:
        options = ["--config", str(self.config), "--log-level", "debug"]
        return as_user(MUSTERD, PYTHON, "-m", self.module, "--system", *options)

    def env(self, **more: str) -> dict[str, str]:
        own = {"STATE_DIRECTORY": str(self.state), SHORTER: str(self._patience)}
        return environ(self._directory, MUSTERD, self.bus.address) | own | more


@dataclass
class System:
    """Calls are made by real processes of the users that make them."""

    directory: Path
    daemon: Daemon
    systemd: FakeSystemd
    polkit: FakePolkit

    @property
    def bus(self) -> str:
        return self.daemon.bus.address

    def environ(self, uid: int) -> dict[str, str]:
        return environ(self.directory, uid, self.bus)

    async def call(
        self, uid: int, member: str, signature: str = "", *args: object, path: str = ROOT
    ) -> list[Any]:
        """What a method answers that user. CallFailed says what else."""
        interface, _, method = member.rpartition(".")
        words = ("call", NAME, path, f"{NAME}.{interface or 'Manager'}", method, signature, *map(str, args))
        answer = await self.busctl(uid, *words)
        return list(json.loads(answer)["data"]) if answer.strip() else []

    async def busctl(self, uid: int, *args: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *as_user(uid, "busctl", f"--address={self.bus}", "--json=short", f"--timeout={PATIENCE}", *args),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(2 * PATIENCE):
            out, err = await process.communicate()
        if process.returncode:
            raise CallFailed(err.decode().strip())
        return out.decode()

    async def register(self, uid: int, pid: int) -> str:
        session_id, _ = await self.call(uid, "RegisterSession", "a{sv}", 1, "pid", "u", pid)
        return str(session_id)

    async def sessions(self, uid: int) -> list[str]:
        (rows,) = await self.call(uid, "ListSessions")
        return [row[0] for row in rows]

    async def health(self) -> list[str]:
        prop = ("get-property", NAME, ROOT, f"{NAME}.Manager", "HealthReasons")
        return list(json.loads(await self.busctl(0, *prop))["data"])

    async def until_health(self, *reasons: str) -> None:
        """Wait for each of its reasons to contain one of these, in order."""
        while True:
            found = await self.health()
            if len(found) == len(reasons) and all(r in f for r, f in zip(reasons, found, strict=True)):
                return

    def process(self, uid: int, *command: str) -> AbstractContextManager[int]:
        return process_of(uid, *command)


@contextmanager
def process_of(uid: int, *command: str) -> Iterator[int]:
    """A process of that user, doing nothing unless told otherwise -> its pid."""
    with subprocess.Popen(as_user(uid, *(command or ("cat",))), stdin=subprocess.PIPE) as process:
        try:
            _await_uid(process.pid, uid)
            yield process.pid
        finally:
            process.kill()


@asynccontextmanager
async def system(
    directory: Path,
    *,
    idle: float = 600,
    config: str = ALONE,
    allowed: Sequence[str] = (),
    patience: float = PATIENCE,
) -> AsyncIterator[System]:
    """`patience` is that of the daemon, in seconds."""
    (directory / "bus").mkdir(exist_ok=True)
    with PolicedBus(directory / "bus" / "socket", root=0, musterd=MUSTERD) as bus:

        def environment(uid: int) -> dict[str, str]:
            return environ(directory, uid, bus.address)

        async with (
            fake_systemd(bus.address, environment, idle=idle) as systemd,
            fake_polkit(bus.address, *allowed) as polkit,
        ):
            daemon = SystemDaemon(directory, bus, config, patience)
            os.chown(daemon.config, MUSTERD, MUSTERD)
            await asyncio.to_thread(daemon.start)
            try:
                yield System(directory, daemon, systemd, polkit)
            finally:
                await asyncio.to_thread(daemon.__exit__, None, None, None)


def _await_uid(pid: int, uid: int) -> None:
    """setpriv changes the user, and then becomes the program: in the midst of that it has no arguments."""
    while os.stat(f"/proc/{pid}").st_uid != uid or not _runs(pid):
        os.sched_yield()


def _runs(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes()
    return bool(words) and b"setpriv" not in words
