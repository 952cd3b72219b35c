"""Waiting for several things at once, and leaving none of them behind."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Found = TypeVar("Found")


async def all_of(asked: Iterable[Coroutine[Any, Any, Found]]) -> list[Found]:
    """What each returns, in the order in which they were asked.

    The error of the first that fails is raised once the others are cancelled and have ended; so it is when
    whoever waits here is cancelled. (After `asyncio.gather`, some may still run.)
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in asked]
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [task.result() for task in running]
