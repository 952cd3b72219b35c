"""What a caller was told holds, whenever the daemon is killed."""

import asyncio
import os
import random
import signal
from contextlib import suppress

import pytest

from helpers.client import Client, client, until_empty
from helpers.daemon import Daemon
from helpers.processes import sleepers
from helpers.wait import until
from musterd.bus.errors import BusError

ROUNDS = int(os.environ.get("MUSTERD_KILL_ROUNDS", "15"))
LONGEST_LIFE = 0.25  # seconds
WORKERS = 4


class Promises:
    """What each leader's session was last said to be: its title, or None when it was released."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[str, str | None]] = {}  # pid: (id, title)
        self.open: dict[int, set[str | None]] = {}  # pid: what a call that got no answer may have made of it

    async def work(self, client: Client, pid: int, seed: int) -> None:
        choice = random.Random(seed)
        for number in range(10_000):
            session_id, title = self.kept.get(pid, ("", None))
            if title is not None and choice.random() < 0.3:
                self.open[pid] = {title, None}
                await client.call("ReleaseSession", "s", session_id)
                self.kept[pid] = (session_id, None)
            else:
                wanted = f"{seed}-{number}"
                self.open[pid] = {title, wanted}
                self.kept[pid] = (await client.register(pid, title=wanted), wanted)
            self.open[pid] = {self.kept[pid][1]}


async def test_kill_at_any_moment_breaks_no_promise(daemon: Daemon) -> None:
    promises = Promises()
    with sleepers(WORKERS) as leaders:
        for round_ in range(ROUNDS):
            async with client(daemon.bus.address) as caller:
                await _interrupted(daemon, promises, caller, [leader.pid for leader in leaders], round_)
            await asyncio.to_thread(daemon.process.wait)  # type: ignore[union-attr]
            await asyncio.to_thread(daemon.start)
            async with client(daemon.bus.address) as caller:
                await _compare(promises, caller)
    assert "Traceback" not in daemon.log
    assert not list((daemon.state / "quarantine").iterdir())


async def _interrupted(
    daemon: Daemon, promises: Promises, caller: Client, pids: list[int], round_: int
) -> None:
    assert daemon.process
    life = random.Random(round_).uniform(0, LONGEST_LIFE)
    asyncio.get_running_loop().call_later(life, daemon.process.send_signal, signal.SIGKILL)
    work = [promises.work(caller, pid, round_ * 100 + number) for number, pid in enumerate(pids)]
    for ended in await asyncio.gather(*work, return_exceptions=True):
        assert isinstance(ended, BusError), ended


async def _compare(promises: Promises, caller: Client) -> None:
    """The roll holds what was promised; of a call without an answer, either outcome."""
    (rows,) = await caller.call("ListSessions")
    found: dict[int, tuple[str, str]] = {}
    for session_id, *_, path in rows:
        reply = await caller.bus.call(
            "org.musterd.Muster1", path, "org.freedesktop.DBus.Properties", "GetAll", "s",
            ["org.musterd.Muster1.Session"],
        )  # fmt: skip
        values = reply.body[0]
        pid = values["Leader"].value
        assert pid not in found, "one leader, two sessions"
        found[pid] = (session_id, values["Title"].value)
    for pid, allowed in promises.open.items():
        title = found[pid][1] if pid in found else None
        assert title in allowed
        if title is not None and promises.kept.get(pid, ("", None))[1] is not None:
            assert found[pid][0] == promises.kept[pid][0]
        promises.kept[pid] = (found[pid][0], title) if pid in found else ("", None)
        promises.open[pid] = {title}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_inhibitor_lives_as_long_as_its_holder_whatever_becomes_of_the_daemon(
    daemon: Daemon, end: signal.Signals
) -> None:
    with sleepers(1) as (leader,):
        async with client(daemon.bus.address) as caller:
            session = await caller.register(leader.pid)
            held = [await caller.inhibit(why, session) for why in ("of one", "also", "goes meanwhile")]
            held.append(await caller.inhibit("of all", ""))
            (before,) = await caller.call("ListInhibitors")
        await asyncio.to_thread(daemon.stop, end)
        os.close(held.pop(2))
        await asyncio.to_thread(daemon.start)
        async with client(daemon.bus.address) as caller:
            (after,) = await caller.call("ListInhibitors")
            assert after == [row for row in before if row[2] != "goes meanwhile"]
            os.close(await caller.inhibit("a new one", session))
            for fd in held:
                os.close(fd)
            await until_empty(caller, "ListInhibitors")
        left = daemon.state / "inhibitors", daemon.state / "pipes"
        await until(lambda: [name for directory in left for name in os.listdir(directory)] == [])


async def test_inhibitors_of_a_session_that_ended_meanwhile_are_none(daemon: Daemon) -> None:
    async with client(daemon.bus.address) as caller:
        with sleepers(1) as (leader,):
            fd = await caller.inhibit("why", await caller.register(leader.pid))
            await asyncio.to_thread(daemon.stop)
        await asyncio.to_thread(daemon.start)
        await until_empty(caller, "ListInhibitors")
        os.close(fd)


async def test_restart_loses_none_and_doubles_none(daemon: Daemon) -> None:
    with sleepers(20) as leaders:
        async with client(daemon.bus.address) as caller:
            ids = {await caller.register(leader.pid) for leader in leaders}
        await asyncio.to_thread(daemon.restart)
        assert {session["Id"] for session in daemon.sessions()} == ids
        with suppress(ProcessLookupError):
            leaders[0].terminate()
            leaders[0].wait()
    async with client(daemon.bus.address) as caller:
        await until_empty(caller, "ListSessions")
