"""polkit is asked about the caller, in time, and whatever goes wrong is a no."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.fake_polkit import fake_polkit
from helpers.policed_bus import PolicedBus
from helpers.private_bus import PrivateBus
from musterd.bus import polkit as module
from musterd.bus.connection import BusConnection
from musterd.bus.polkit import Polkit
from musterd.ports import Action, Caller, Grant


@asynccontextmanager
async def authority(address: str) -> AsyncIterator[tuple[Polkit, BusConnection]]:
    """One that asks on that bus, and another connection, which may be the caller."""
    async with (
        asyncio.TaskGroup() as tasks,
        BusConnection.open(address, tasks) as bus,
        BusConnection.open(address, tasks) as other,
    ):
        polkit = Polkit()
        polkit.bus = bus
        yield polkit, other


def caller(bus: BusConnection, *, uid: int = 1000, is_interactive: bool = False) -> Caller:
    return Caller(uid, 50, bus.unique_name, is_interactive)


async def test_its_word_is_taken_action_by_action(private_bus: PrivateBus) -> None:
    async with (
        fake_polkit(private_bus.address, Action.SET_MODE) as polkit,
        authority(private_bus.address) as (ours, other),
    ):
        assert await ours.check(caller(other), Action.SET_MODE) is Grant.YES
        assert await ours.check(caller(other), Action.MANAGE_OTHERS) is Grant.CHALLENGE
        polkit.refuses = True
        assert await ours.check(caller(other), Action.MANAGE_OTHERS) is Grant.NO
        asked = [Action.SET_MODE, Action.MANAGE_OTHERS, Action.MANAGE_OTHERS]
        assert polkit.asked == [(other.unique_name, action, 0) for action in asked]


@pytest.mark.parametrize(
    ("case", "allowed", "refuses", "is_interactive", "flags", "grant"),
    [
        ("its user is asked only where the caller lets it", False, False, False, [0], Grant.CHALLENGE),
        ("who does not know the password may not", False, False, True, [0, 1], Grant.NO),
        ("nobody is asked where no password helps", False, True, True, [0], Grant.NO),
        ("nobody is asked where none is needed", True, False, True, [0], Grant.YES),
    ],
)
async def test_its_user_is_asked_for_a_password_only_where_that_decides(
    private_bus: PrivateBus,
    case: str,
    allowed: bool,
    refuses: bool,
    is_interactive: bool,
    flags: list[int],
    grant: Grant,
) -> None:
    granted = [Action.SET_MODE] if allowed else []
    async with (
        fake_polkit(private_bus.address, *granted) as polkit,
        authority(private_bus.address) as (ours, other),
    ):
        polkit.refuses = refuses
        asker = caller(other, is_interactive=is_interactive)
        assert await ours.check(asker, Action.SET_MODE) is grant, case
        assert [asked for _, _, asked in polkit.asked] == flags, case


async def test_root_needs_no_polkit(private_bus: PrivateBus) -> None:
    async with authority(private_bus.address) as (ours, other):
        assert await ours.check(caller(other, uid=0), Action.SET_MODE) is Grant.YES


async def test_where_there_is_no_polkit_nobody_else_may(private_bus: PrivateBus) -> None:
    async with authority(private_bus.address) as (ours, other):
        assert await ours.check(caller(other), Action.SET_MODE) is Grant.SILENCE
    assert await Polkit().check(Caller(1000, 1, ":1.1"), Action.SET_MODE) is Grant.SILENCE


@pytest.mark.parametrize("is_interactive", [False, True])
async def test_silence_is_a_no_and_the_question_is_taken_back(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch, is_interactive: bool
) -> None:
    monkeypatch.setattr(module, "RULES_TIMEOUT", 0.2)
    async with (
        fake_polkit(private_bus.address, hangs=True) as polkit,
        authority(private_bus.address) as (ours, other),
    ):
        asker = caller(other, is_interactive=is_interactive)
        assert await ours.check(asker, Action.SET_MODE) is Grant.SILENCE
        assert (await polkit.cancelled.get()).startswith("musterd-")


async def test_question_is_taken_back_when_the_caller_leaves(private_bus: PrivateBus) -> None:
    async with (
        fake_polkit(private_bus.address, hangs=True) as polkit,
        authority(private_bus.address) as (ours, _),
        asyncio.TaskGroup() as tasks,
    ):
        async with BusConnection.open(private_bus.address, tasks) as leaving:
            asking = tasks.create_task(
                ours.check(caller(leaving, is_interactive=True), Action.MANAGE_OTHERS)
            )
            await polkit.begun.wait()
        assert await asking is Grant.NO
        await polkit.cancelled.get()


async def test_who_has_left_already_is_refused(private_bus: PrivateBus) -> None:
    async with authority(private_bus.address) as (ours, _):
        assert await ours.check(Caller(1000, 50, ":1.9999"), Action.SET_MODE) is Grant.SILENCE


async def test_our_own_end_ends_the_question(private_bus: PrivateBus) -> None:
    async with (
        fake_polkit(private_bus.address, hangs=True) as polkit,
        authority(private_bus.address) as (ours, other),
    ):
        asking = asyncio.create_task(ours.check(caller(other), Action.SET_MODE))
        await polkit.begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await polkit.cancelled.get()


async def test_questions_that_one_user_leaves_open_keep_nobody_from_asking(tmp_path: Path) -> None:
    uid = os.getuid()
    with PolicedBus(tmp_path / "bus", root=uid, musterd=uid) as bus:
        async with (
            fake_polkit(bus.address, Action.SET_MODE, hangs=True) as polkit,
            authority(bus.address) as (ours, other),
        ):
            asker = caller(other, is_interactive=True)
            open_ones = [asyncio.create_task(ours.check(asker, Action.SET_MODE)) for _ in range(600)]
            await polkit.begun.wait()
            polkit.hangs = False
            assert await ours.check(caller(other, uid=1001), Action.SET_MODE) is Grant.YES
            assert len(polkit.asked) <= module.QUESTIONS_PER_USER + 1
            for task in open_ones:
                task.cancel()
            await asyncio.wait(open_ones)
