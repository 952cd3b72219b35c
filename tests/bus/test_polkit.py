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
from musterd.ports import Action, Caller


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
        assert await ours.allows(caller(other), Action.SET_MODE)
        assert not await ours.allows(caller(other), Action.MANAGE_OTHERS)
        assert polkit.asked == [
            (other.unique_name, Action.SET_MODE, 0),
            (other.unique_name, Action.MANAGE_OTHERS, 0),
        ]


async def test_its_user_is_asked_only_where_the_caller_lets_it(private_bus: PrivateBus) -> None:
    async with fake_polkit(private_bus.address) as polkit, authority(private_bus.address) as (ours, other):
        await ours.allows(caller(other), Action.SET_MODE)
        await ours.allows(caller(other, is_interactive=True), Action.SET_MODE)
        assert [flags for _, _, flags in polkit.asked] == [0, 1]


async def test_root_needs_no_polkit(private_bus: PrivateBus) -> None:
    async with authority(private_bus.address) as (ours, other):
        assert await ours.allows(caller(other, uid=0), Action.SET_MODE)


async def test_where_there_is_no_polkit_nobody_else_may(private_bus: PrivateBus) -> None:
    async with authority(private_bus.address) as (ours, other):
        assert not await ours.allows(caller(other), Action.SET_MODE)
    assert not await Polkit().allows(Caller(1000, 1, ":1.1"), Action.SET_MODE)


async def test_silence_is_a_no_and_the_question_is_taken_back(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RULES_TIMEOUT", 0.2)
    async with (
        fake_polkit(private_bus.address, hangs=True) as polkit,
        authority(private_bus.address) as (ours, other),
    ):
        assert not await ours.allows(caller(other), Action.SET_MODE)
        assert (await polkit.cancelled.get()).startswith("musterd-")


async def test_question_is_taken_back_when_the_caller_leaves(private_bus: PrivateBus) -> None:
    async with (
        fake_polkit(private_bus.address, hangs=True) as polkit,
        authority(private_bus.address) as (ours, _),
        asyncio.TaskGroup() as tasks,
    ):
        async with BusConnection.open(private_bus.address, tasks) as leaving:
            asking = tasks.create_task(
                ours.allows(caller(leaving, is_interactive=True), Action.MANAGE_OTHERS)
            )
            await polkit.begun.wait()
        assert await asking is False
        await polkit.cancelled.get()


async def test_who_has_left_already_is_refused(private_bus: PrivateBus) -> None:
    async with authority(private_bus.address) as (ours, _):
        assert not await ours.allows(Caller(1000, 50, ":1.9999"), Action.SET_MODE)


async def test_our_own_end_ends_the_question(private_bus: PrivateBus) -> None:
    async with (
        fake_polkit(private_bus.address, hangs=True) as polkit,
        authority(private_bus.address) as (ours, other),
    ):
        asking = asyncio.create_task(ours.allows(caller(other), Action.SET_MODE))
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
            open_ones = [asyncio.create_task(ours.allows(asker, Action.SET_MODE)) for _ in range(600)]
            await polkit.begun.wait()
            polkit.hangs = False
            assert await ours.allows(caller(other, uid=1001), Action.SET_MODE)
            assert len(polkit.asked) <= module.QUESTIONS_PER_USER + 1
            for task in open_ones:
                task.cancel()
            await asyncio.wait(open_ones)
