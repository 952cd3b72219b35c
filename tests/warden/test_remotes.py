"""Whose wardens are started, and whose are not."""

import asyncio
from collections.abc import Sequence

import pytest

from helpers.fakes import FakeClock
from helpers.wait import until
from musterd.core.errors import AccessDenied, Busy, Failed
from musterd.warden import census as census_module
from musterd.warden import remotes as module
from musterd.warden.census import Census
from musterd.warden.remotes import RemoteWardens

LENT = 100_000


class FakeUnits:
    def __init__(self) -> None:
        self.started: list[int] = []
        self.asked: list[int] = []
        self.answers = asyncio.Event()

    async def start(self, uid: int) -> None:
        self.started.append(uid)
        raise Failed("The unit is masked.")

    async def is_theirs(self, uid: int, pid: int) -> bool:
        self.asked.append(uid)
        await self.answers.wait()
        return False


def lend(monkeypatch: pytest.MonkeyPatch, *uids: int) -> None:
    for user in (module, census_module):
        monkeypatch.setattr(user, "is_subordinate", lambda uid: uid in uids)


async def started(uids: Sequence[int]) -> list[int]:
    """For which of them a unit was started."""
    units = FakeUnits()
    async with asyncio.TaskGroup() as tasks:
        wardens = RemoteWardens(units, tasks, FakeClock(), None)
        for uid in uids:
            with pytest.raises(Failed):
                await wardens.get(uid)
        await wardens.close()
    return units.started


async def test_user_of_a_namespace_has_no_warden(monkeypatch: pytest.MonkeyPatch) -> None:
    lend(monkeypatch, LENT)
    assert await started([1000, LENT, 0]) == [1000, 0]


async def test_warden_that_cannot_be_started_is_not_tried_at_once() -> None:
    assert await started([1000, 1000, 1001]) == [1000, 1001]


async def test_census_leaves_out_users_of_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.TaskGroup() as tasks:
        wardens = RemoteWardens(FakeUnits(), tasks, FakeClock(), None)
        census = Census(wardens, (), None)
        monkeypatch.setattr(census, "_owner", lambda pid: LENT if pid == "1" else 1000)
        lend(monkeypatch, LENT)
        assert census.users() == {1000}
        await wardens.close()


async def test_imposters_without_number_leave_systemd_room_for_others() -> None:
    units = FakeUnits()
    async with asyncio.TaskGroup() as tasks:
        wardens = RemoteWardens(units, tasks, FakeClock(), None)
        asking = [asyncio.ensure_future(wardens.attach(1000, pid)) for pid in range(50)]
        asking.append(asyncio.ensure_future(wardens.attach(1001, 50)))
        await until(lambda: 1001 in units.asked)
        units.answers.set()
        refusals = [type(refusal) for refusal in await asyncio.gather(*asking, return_exceptions=True)]
        assert refusals == [AccessDenied] * 4 + [Busy] * 46 + [AccessDenied]
        with pytest.raises(AccessDenied):  # and they may try again
            await wardens.attach(1000, 51)
        await wardens.close()
    assert units.asked == [1000] * 4 + [1001, 1000]
