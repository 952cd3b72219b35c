"""Users that ask the daemon: real processes of theirs, told by the test what to ask (asker_program.py)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("asker_program.py")
PATIENCE = 240.0  # seconds for all answers to one line; a busy machine

Question = Sequence[object]  # path, interface, member, signature, arguments, whether polkit may ask


def variant(signature: str, value: object) -> Mapping[str, object]:
    return {"signature": signature, "value": value}


class Asker:
    """One connection, and children that live as long as it does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def start_child(self) -> int:
        """A process of that user, which does nothing -> its pid, as that user sees it."""
        return int(await self._say("start"))

    async def ask(self, *questions: Question) -> list[Any]:
        """(error or "", values or text) for each, in order."""
        return list(await self._say(questions))

    async def _say(self, words: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self._process.stdout.readline())


@asynccontextmanager
async def asker(*command: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Asker]:
    """`command` runs PROGRAM as some user, with the address of a bus."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environ, limit=2**24
    )
    try:
        yield Asker(process)
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()
