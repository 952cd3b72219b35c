"""Waiting for something to happen: any signal of the daemon's, or a slow clock for what no signal tells."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from musterd.bus.names import MANAGER, PROPERTIES, REAPER

from .client import Client
from .failure import NoDaemon

# One change brings several signals, and the event log is written beside them.
SETTLE = 0.1  # seconds


class Watch:
    """Made by `watching`."""

    def __init__(self) -> None:
        self.is_over = False
        self._pulse = asyncio.Event()

    def wake(self) -> None:
        self._pulse.set()

    async def wait(self, interval: float) -> None:
        """Until something happened, or for `interval` seconds. Raises NoDaemon when the bus is gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await self._pulse.wait()
                await asyncio.sleep(SETTLE)
        if self.is_over:
            raise NoDaemon("The connection to the bus ended.")
        self._pulse.clear()


@asynccontextmanager
async def watching(client: Client) -> AsyncIterator[Watch]:
    """Everything that happens from now on wakes the watch."""
    for interface in (MANAGER, REAPER, PROPERTIES):
        await client.subscribe(interface)
    watch = Watch()
    listener = asyncio.create_task(_listen(client, watch))
    try:
        yield watch
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


async def _listen(client: Client, watch: Watch) -> None:
    async for _ in client.signals():
        watch.wake()
    watch.is_over = True
    watch.wake()
