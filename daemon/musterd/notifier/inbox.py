"""All that happens, in one row: what is shown is changed by one event at a time."""

import asyncio
import logging
import os

from .topics import Answer, Cancelled, Event, Prepare, Reaped, Removed, Stop

logger = logging.getLogger(__name__)

MAX_WAITING = 1000  # events; what musterd says about sessions is dropped above that


class Inbox:
    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        if isinstance(event, Prepare | Cancelled | Reaped | Removed) and self._events.qsize() >= MAX_WAITING:
            logger.warning("Too much happens at once, not telling of session '%s'", event.id)
            return
        self._events.put_nowait(event)

    async def get(self) -> Event:
        return await self._events.get()

    def close(self) -> None:
        """Drop what waits, with the fds in it; the next event is the last one."""
        while not self._events.empty():
            event = self._events.get_nowait()
            if isinstance(event, Answer) and event.fd is not None:
                os.close(event.fd)
        self._events.put_nowait(Stop())
