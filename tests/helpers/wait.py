"""Waiting without sleeping: for the loop to get to a state. The time-out is that of the test."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks run until `condition` holds."""
    while not condition():  # noqa: ASYNC110 - the conditions are about objects that know no events
        await asyncio.sleep(0)
