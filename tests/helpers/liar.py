"""A warden by hand: a real process of its user, that says what the test wants."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from helpers.system import System
from helpers.users import PYTHON, as_user
from musterd import __version__

PROGRAM = Path(__file__).with_name("warden_by_hand.py")


class Liar:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def attach(self) -> str:
        """ "attached", or the error."""
        self.say_bytes(b"!")
        return (await self._read()).decode().strip()

    async def greet(self) -> None:
        assert await self.attach() == "attached"
        self.say(hello=__version__)
        assert "welcome" in await self.hear()

    def say(self, **message: object) -> None:
        self.say_bytes(json.dumps(message).encode() + b"\n")

    def say_bytes(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)

    async def hear(self) -> dict[str, Any]:
        """What the daemon says next."""
        return dict(json.loads(await self._read()))

    async def asked(self, member: str) -> int:
        """The number of the next call of that method; others are answered with nothing."""
        while True:
            message = await self.hear()
            if message.get("member") == member:
                return int(message["call"])
            if message.get("call"):
                self.say(done=message["call"], value=None)

    async def dropped(self) -> None:
        """Return when the daemon has ended the line, whatever it said before."""
        while await self._read():
            pass

    async def _read(self) -> bytes:
        assert self._process.stdout
        return await self._process.stdout.readline()

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def liar(stage: System, uid: int, *, unit_of: int | None = None) -> AsyncIterator[Liar]:
    """A process of that user that systemd takes for the warden of that, or another, user."""
    program = stage.directory / PROGRAM.name
    program.write_text(PROGRAM.read_text())
    process = await asyncio.create_subprocess_exec(
        *as_user(uid, PYTHON, str(program)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=stage.environ(uid),
        limit=2**22,
    )
    stage.systemd.blessed[process.pid] = uid if unit_of is None else unit_of
    by_hand = Liar(process)
    try:
        yield by_hand
    finally:
        await by_hand.end()
        del stage.systemd.blessed[process.pid]
