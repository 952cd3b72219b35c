"""Long pieces of work in the loop let it turn now and then."""

import asyncio
import time

_SLICE = 0.02  # seconds of work between two turns of the loop


class Pause:
    def __init__(self) -> None:
        self._since = time.monotonic()

    async def __call__(self) -> None:
        if time.monotonic() - self._since > _SLICE:
            await asyncio.sleep(0)
            self._since = time.monotonic()
