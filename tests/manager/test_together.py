"""Several things at once: each test compares what had ended by the time at which the waiting was over."""

import asyncio
from collections.abc import Coroutine

import pytest

from musterd.core.errors import Failed
from musterd.together import all_of


class Stage:
    """Coroutines that write down how they end, and need turns of the loop to do so."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.begun = asyncio.Event()

    async def returns(self, name: str, *, turns: int) -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        self.ended.append(name)
        return name

    async def fails(self, why: str) -> str:
        await self.begun.wait()
        raise Failed(why)

    async def lasts(self, name: str, *, turns: int) -> str:
        """Until it is cancelled, and so many turns more."""
        try:
            self.begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            await self.returns(name, turns=turns)
        raise AssertionError


async def test_results_come_in_the_order_in_which_they_were_asked_for() -> None:
    stage = Stage()
    assert await all_of([stage.returns("a", turns=9), stage.returns("b", turns=1)]) == ["a", "b"]
    assert stage.ended == ["b", "a"]


async def test_nothing_asked_is_nothing_found() -> None:
    nothing: list[Coroutine[None, None, str]] = []
    assert await all_of(nothing) == []


async def test_the_others_have_ended_when_one_fails() -> None:
    stage = Stage()
    with pytest.raises(Failed, match="why"):
        await all_of([stage.lasts("a", turns=9), stage.fails("why"), stage.lasts("b", turns=1)])
    assert stage.ended == ["b", "a"]


async def test_all_have_ended_when_who_waits_is_cancelled() -> None:
    stage = Stage()
    waiting = asyncio.ensure_future(all_of([stage.lasts("a", turns=9), stage.lasts("b", turns=1)]))
    await stage.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stage.ended == ["b", "a"]
