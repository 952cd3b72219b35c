"""Work that hangs costs a thread, and nobody's time but its own."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from helpers.wait import until
from musterd.host import workers
from musterd.host.workers import Hung, Workers


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let go at the end, whatever happens. All else comes back by then, even on a busy machine."""
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    event = threading.Event()
    yield event
    event.set()


def visits() -> set[int]:
    """The threads that there are, of whatever Workers."""
    return {thread.ident or 0 for thread in threading.enumerate() if thread.name == "visit"}


def fail() -> str:
    raise ValueError("no")


async def test_each_job_has_its_own_outcome_and_all_are_done_in_one_thread() -> None:
    names: set[int] = set()
    jobs: list[tuple[str, Callable[[], object]]] = [
        (str(number), lambda: names.add(threading.get_ident())) for number in range(1000)
    ]
    found = await Workers().each([*jobs, ("bad", fail), ("good", lambda: 7)])
    assert len(found) == 1002
    assert isinstance(found["bad"], ValueError)
    assert found["good"] == 7
    assert len(names) == 1
    assert threading.get_ident() not in names
    with pytest.raises(ValueError, match="no"):
        await Workers().do("bad", fail)


async def test_one_that_hangs_costs_no_other_its_result(hang: threading.Event) -> None:
    found = await Workers().each([("a", lambda: True), ("b", hang.wait), ("c", lambda: True)])
    assert (found["a"], found["c"]) == (True, True)
    assert isinstance(found["b"], Hung)


async def test_the_loop_goes_on(hang: threading.Event) -> None:
    asked = asyncio.ensure_future(Workers().each([("a", hang.wait)]))
    await until(lambda: visits())  # would never come back if the loop hung, too
    assert isinstance((await asked)["a"], Hung)


async def test_many_short_jobs_are_not_one_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 4.0)
    found = await Workers().each([(str(n), lambda: time.sleep(0.5)) for n in range(9)])
    assert list(found.values()) == [None] * 9


async def test_what_hangs_is_not_begun_again_until_it_came_back(hang: threading.Event) -> None:
    some, begun = Workers(), list[str]()

    def work() -> None:
        begun.append("x")
        hang.wait()

    for _ in range(3):
        with pytest.raises(Hung):
            await some.do("a", work)
    assert begun == ["x"]
    hang.set()
    await until(lambda: not some._hanging)
    await some.do("a", work)
    assert begun == ["x", "x"]


async def test_no_more_threads_hang_than_are_allowed(hang: threading.Event) -> None:
    some = Workers(threads=2)
    before = visits()
    found = await some.each([(str(number), hang.wait) for number in range(50)])
    assert all(isinstance(outcome, Hung) for outcome in found.values())
    assert len(found) == 50
    await until(lambda: len(visits() - before) == 2)  # one that came too late for its turn has ended


async def test_whoever_asked_may_stop_waiting(
    hang: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 60.0)  # nobody is given up
    some, begun, done = Workers(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        hang.wait()

    jobs: list[tuple[str, Callable[[], object]]] = [("a", work), ("b", lambda: done.append("b"))]
    asked = asyncio.ensure_future(some.each(jobs))
    await until(begun.is_set)
    asked.cancel()
    await asyncio.wait([asked])
    with pytest.raises(Hung):
        await some.do("a", hang.wait)
    hang.set()
    await until(lambda: not some._hanging)
    assert done == []


async def test_without_a_thread_there_is_an_error_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    found = await Workers().each([("a", lambda: True), ("b", lambda: True)])
    assert all(isinstance(outcome, OSError) for outcome in found.values())


# Kept threads


async def ident(some: Workers) -> int:
    return await some.do("a", threading.get_ident)


async def test_a_thread_that_is_kept_takes_the_next_turn() -> None:
    some = Workers()
    with some.kept():
        first = await ident(some)
        with some.kept():
            assert await ident(some) == first
        assert await ident(some) == first


async def test_a_thread_ends_with_what_it_is_kept_for() -> None:
    some, threads = Workers(), list[threading.Thread]()
    with some.kept():
        threads.append(await some.do("a", threading.current_thread))
        assert threads[0].is_alive()
    threads.append(await some.do("a", threading.current_thread))
    for thread in threads:
        await asyncio.to_thread(thread.join)


async def test_a_kept_thread_that_hangs_is_given_up_for_another(hang: threading.Event) -> None:
    some, threads = Workers(), list[threading.Thread]()

    def wait() -> None:
        threads.append(threading.current_thread())
        hang.wait()

    with some.kept():
        with pytest.raises(Hung):
            await some.do("hung", wait)
        assert await ident(some) != threads[0].ident
        assert threads[0].is_alive()
        hang.set()
        await asyncio.to_thread(threads[0].join)


async def test_a_kept_thread_serves_whoever_comes_after_one_that_was_cancelled(
    hang: threading.Event,
) -> None:
    some, begun = Workers(), threading.Event()

    def wait() -> None:
        begun.set()
        hang.wait()

    with some.kept():
        asked = asyncio.ensure_future(some.do("hung", wait))
        await asyncio.to_thread(begun.wait)
        asked.cancel()
        await asyncio.wait([asked])
        assert await some.do("good", lambda: 7) == 7


async def test_two_at_a_time_have_a_thread_each() -> None:
    some, both = Workers(), threading.Barrier(2)
    with some.kept():
        await asyncio.gather(some.do("a", both.wait), some.do("b", both.wait))
