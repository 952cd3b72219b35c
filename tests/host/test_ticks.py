"""Slow work wakes up at shared moments."""

import asyncio

from helpers.virtual_time import run_in_virtual_time, virtual_loop
from musterd.host.ticks import next_tick


def test_ticks_of_several_intervals_coincide() -> None:
    async def ticking(interval: float) -> None:
        while True:
            await next_tick(interval)

    async def main() -> list[float]:
        loop = virtual_loop()
        loop.selector.now = 1003.7
        tasks = [asyncio.create_task(ticking(interval)) for interval in (60.0, 30.0, 15.0)]
        await asyncio.sleep(600)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return loop.selector.jumps

    assert len(run_in_virtual_time(main())) <= 600 / 15 + 2


def test_a_tick_that_came_early_is_not_taken_twice() -> None:
    async def main() -> float:
        loop = virtual_loop()
        loop.selector.now = 59.998
        await next_tick(30.0)
        return loop.time()

    assert round(run_in_virtual_time(main())) == 90
