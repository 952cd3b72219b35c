"""What time brings, in a clock that jumps."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from helpers.virtual_time import run_in_virtual_time
from musterd.bus.errors import CallTimedOut
from musterd.notifier.desktop import NotShown
from musterd.notifier.inbox import Inbox
from musterd.notifier.post import Post
from musterd.notifier.screen import MAX_SLOTS
from musterd.notifier.topics import (
    Action,
    Asked,
    Closed,
    DesktopArrived,
    Disarmed,
    Event,
    Facts,
    Invoked,
    MusterdArrived,
    Notice,
    Prepare,
    Reaped,
    Removed,
)


class FakeMusterd:
    def __init__(self) -> None:
        self.is_silent = False
        self.pipes: list[int] = []

    async def facts(self, session_id: str) -> Facts | None:
        if self.is_silent:
            raise CallTimedOut("musterd did not answer")
        return Facts(session_id, "codex", cwd=f"/home/user/{session_id}", is_resumable=True)

    async def disarmed(self) -> Disarmed | None:
        return None

    async def hold(self, session_id: str, why: str) -> int:
        ours, theirs = os.pipe()
        self.pipes.append(ours)
        return theirs

    async def terminate(self, session_id: str, why: str) -> None: ...

    async def resume(self, session_id: str) -> None: ...


class FakeDesktop:
    def __init__(self) -> None:
        self.is_there = True
        self.said: list[str] = []  # summaries; "closed N" when one is taken away
        self.numbers = 0

    async def show(self, notice: Notice, replaces: int = 0) -> int:
        if not self.is_there:
            raise NotShown("none is running")
        self.said.append(notice.summary)
        self.numbers += not replaces
        return replaces or self.numbers

    async def close(self, number: int) -> None:
        self.said.append(f"closed {number}")


class Story:
    """A post with fakes on both sides. `tell` returns when what it tells of is done."""

    def __init__(self) -> None:
        self.musterd = FakeMusterd()
        self.desktop = FakeDesktop()
        self.inbox = Inbox()
        self.post = Post(self.inbox, self.musterd, self.desktop, now=self._now)

    def _now(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e6)

    async def tell(self, *events: Event) -> None:
        for event in events:
            self.inbox.put(event)
        await asyncio.sleep(0.1)  # of a clock that jumps

    def prepare(self, session_id: str, seconds: float = 30) -> Prepare:
        return Prepare(session_id, self._now() + int(seconds * 1e6))


def play(story: Callable[[Story], Awaitable[None]]) -> None:
    async def run() -> None:
        told = Story()
        worker = asyncio.create_task(told.post.run())
        try:
            await story(told)
        finally:
            told.inbox.close()
            await worker
            await told.post.close()
            for pipe in told.musterd.pipes:
                os.close(pipe)

    run_in_virtual_time(run())


def ended(session_id: str) -> Reaped:
    return Reaped(session_id, 0, is_dry_run=False)


def test_what_is_too_much_is_summed_up_in_place_and_rarely() -> None:
    async def story(told: Story) -> None:
        await told.tell(*(ended(f"a{number}") for number in range(8)))
        assert told.desktop.said[6:] == ["2 more"]
        await told.tell(ended("b1"), ended("b2"))
        await told.tell(ended("b3"))
        assert told.desktop.said[7:] == []
        await asyncio.sleep(10)
        assert told.desktop.said[7:] == ["5 more"]
        assert told.desktop.numbers == 7
        await asyncio.sleep(60)
        await told.tell(ended("c1"))
        assert told.desktop.said[8:] == ["“c1” was ended"]

    play(story)


def test_announcement_is_not_left_when_its_outcome_is_summed_up() -> None:
    async def story(told: Story) -> None:
        await told.tell(*(told.prepare(f"a{number}") for number in range(6)))
        await told.tell(ended("a0"))
        assert told.desktop.said[6:] == ["closed 1", "1 more"]

    play(story)


def test_keep_lasts_an_hour() -> None:
    async def story(told: Story) -> None:
        await told.tell(told.prepare("a1"))
        await told.tell(Invoked(1, Action.KEEP))
        assert told.desktop.said[1:] == ["“a1” is kept"]
        (pipe,) = told.musterd.pipes
        os.set_blocking(pipe, False)
        await asyncio.sleep(3595)
        assert _is_held(pipe)
        await asyncio.sleep(10)
        assert not _is_held(pipe)

    play(story)


def _is_held(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) != b""
    except BlockingIOError:
        return True


def test_session_that_left_by_itself_is_not_announced_and_not_held_any_more() -> None:
    async def story(told: Story) -> None:
        await told.tell(told.prepare("a1"), told.prepare("b2"))
        await told.tell(Invoked(2, Action.KEEP), Removed("a1"))
        assert told.desktop.said[2:] == ["closed 1", "“b2” is kept"]
        (pipe,) = told.musterd.pipes
        os.set_blocking(pipe, False)
        await told.tell(Removed("b2"))
        assert not _is_held(pipe)

    play(story)


def test_click_that_comes_after_its_notification_was_closed_still_counts() -> None:
    async def story(told: Story) -> None:
        await told.tell(told.prepare("a1"))
        await told.tell(Closed(1), Invoked(1, Action.END))
        assert told.desktop.said[1:] == ["“a1” was ended"]

    play(story)


def test_second_click_and_one_that_was_not_offered_do_nothing() -> None:
    async def story(told: Story) -> None:
        await told.tell(told.prepare("a1"))
        await told.tell(Invoked(1, Action.RESUME), Invoked(2, Action.KEEP))
        await told.tell(Invoked(1, Action.KEEP), Invoked(1, Action.END))
        assert told.desktop.said[1:] == ["“a1” is kept"]

    play(story)


def test_same_signal_twice_is_told_once() -> None:
    async def story(told: Story) -> None:
        announcement = told.prepare("a1")
        await told.tell(announcement, announcement, ended("a1"), ended("a1"))
        assert [said.split("”")[0] for said in told.desktop.said] == ["“a1", "“a1"]

    play(story)


def test_announcement_whose_time_has_passed_is_not_shown_late() -> None:
    async def story(told: Story) -> None:
        told.desktop.is_there = False
        await told.tell(told.prepare("a1"), ended("b2"))
        await asyncio.sleep(60)
        told.desktop.is_there = True
        await told.tell(DesktopArrived())
        assert told.desktop.said == ["“b2” was ended"]

    play(story)


def test_musterd_that_does_not_answer_stops_nothing() -> None:
    async def story(told: Story) -> None:
        told.musterd.is_silent = True
        await told.tell(told.prepare("a1"), MusterdArrived())
        told.musterd.is_silent = False
        await told.tell(ended("a1"))
        assert told.desktop.said == ["“a1” was ended"]

    play(story)


def test_notifications_that_we_answer_for_are_bounded() -> None:
    async def story(told: Story) -> None:
        for number in range(MAX_SLOTS + 3):
            await told.tell(ended(f"a{number}"))
            await asyncio.sleep(60)
        assert [said for said in told.desktop.said if said.startswith("closed")] == [
            "closed 1", "closed 2", "closed 3",
        ]  # fmt: skip

    play(story)


def test_what_the_stop_gate_does_replaces_itself_and_nothing_else() -> None:
    async def story(told: Story) -> None:
        await told.tell(ended("a1"), Asked("a1", "block"), Asked("a1", "block"), Asked("a1", "exhausted"))
        assert told.desktop.said == ["“a1” was ended", "“a1” goes on", "“a1” stopped unfinished"]
        assert told.desktop.numbers == 2

    play(story)


def test_of_sessions_that_are_held_too_many_are_not_told_and_unfinished_ones_are_summed_up() -> None:
    async def story(told: Story) -> None:
        await told.tell(*(ended(f"a{number}") for number in range(6)))
        await told.tell(*(Asked(f"b{number}", "block") for number in range(3)))
        await told.tell(Asked("b0", "exhausted"))
        assert told.desktop.said[6:] == ["1 more"]

    play(story)


def test_session_that_ended_begins_anew() -> None:
    async def story(told: Story) -> None:
        await told.tell(Asked("a1", "block"), Removed("a1"), Asked("a1", "block"))
        assert told.desktop.said == ["“a1” goes on"] * 2

    play(story)
