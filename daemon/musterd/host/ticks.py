"""Shared moments to wake up at: slow periodic work that sleeps to them makes one wake-up of many."""

import asyncio

# Seconds. A timer may come a little early (the loop rounds to the resolution of its clock).
SLACK = 0.005


def until_tick(interval: float) -> float:
    """Seconds until the loop clock is at the next multiple of `interval`."""
    now = asyncio.get_running_loop().time() + SLACK
    return interval - now % interval + SLACK


async def next_tick(interval: float) -> None:
    """Sleep until the next multiple of `interval` seconds on the loop clock."""
    await asyncio.sleep(until_tick(interval))
