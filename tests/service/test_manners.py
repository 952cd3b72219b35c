"""Rude clients cost the daemon nothing, and other clients little."""

import asyncio
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from helpers.client import Client, client, until_empty
from helpers.daemon import NAME, ROOT, Daemon
from helpers.processes import open_files, sleepers
from helpers.programs import Programs
from helpers.wait import until
from musterd.bus.errors import RemoteError
from musterd.bus.limits import KIB
from musterd.bus.signals import Match

FLOOD = Path(__file__).parents[1] / "helpers" / "flood.py"

LIMIT_REACHED = f"{NAME}.Error.LimitReached"


def open_fds(daemon: Daemon, kind: str) -> int:
    """Its pipes, or its sockets. Files come and go: history is opened a while after the start."""
    return _open(daemon, f"{kind}:", f"{daemon.state}/{kind}s/")


def held_pipes(daemon: Daemon) -> int:
    """Those of inhibitors alone: there may be others for a moment, of a program that it runs."""
    return _open(daemon, f"{daemon.state}/pipes/")


def _open(daemon: Daemon, *beginnings: str) -> int:
    assert daemon.process
    return sum(file.startswith(beginnings) for file in open_files(daemon.process.pid))


async def answered(caller: Client) -> str:
    """What one call of a burst came to: its reply, or the name of its error."""
    try:
        await caller.call("ListSessionsPage", "uu", 0, 0)
    except RemoteError as exc:
        return exc.name
    return "reply"


async def test_eight_clients_with_128_calls_each_are_all_answered(daemon: Daemon) -> None:
    async with asyncio.TaskGroup() as tasks:
        bursts = [tasks.create_task(_burst(daemon.bus.address, 128)) for _ in range(8)]
        async with client(daemon.bus.address) as other:
            assert (await other.call("ListSessions"))[0] == []
    outcomes = {outcome for burst in bursts for outcome in burst.result()}
    assert outcomes <= {"reply", LIMIT_REACHED}
    assert "reply" in outcomes


async def _burst(address: str, calls: int) -> list[str]:
    async with client(address) as caller:
        return await asyncio.gather(*(answered(caller) for _ in range(calls)))


async def test_a_flood_of_calls_that_want_no_reply_holds_up_nobody(daemon: Daemon) -> None:
    """The flood comes from a program of its own, as fast as it can."""
    with sleepers(50) as leaders, Programs() as programs:
        async with client(daemon.bus.address) as other:
            for leader in leaders:
                await other.register(leader.pid, title="x" * 1000)
            pid = programs.start(sys.executable, FLOOD, daemon.bus.address, environ=daemon.env())
            await asyncio.to_thread(programs.read_line, pid)  # it has begun
            for _ in range(20):
                assert len((await other.call("ListSessions"))[0]) == 50


async def test_client_that_never_reads_does_not_hold_up_others(daemon: Daemon) -> None:
    with sleepers(50) as leaders:
        async with client(daemon.bus.address) as other:
            for leader in leaders:
                await other.register(leader.pid, title="x" * 1000)
            async with client(daemon.bus.address) as rude:
                assert rude.bus._link
                _stop_reading(rude)
                calls = [asyncio.create_task(answered(rude)) for _ in range(128)]
                for _ in range(20):
                    assert len((await other.call("ListSessions", within=60))[0]) == 50
                for call in calls:
                    call.cancel()
    assert daemon.process
    assert daemon.process.poll() is None


def _stop_reading(rude: Client) -> None:
    """Its answers stay in the socket."""
    assert rude.bus._link
    sock = rude.bus._link._bus._sock
    assert sock
    asyncio.get_running_loop().remove_reader(sock)


async def test_fds_that_come_with_a_call_are_closed(daemon: Daemon) -> None:
    async with client(daemon.bus.address) as caller:
        await caller.call("ListSessions")
        before = open_fds(daemon, "socket")
        left, right = socket.socketpair()
        with left, right:
            for _ in range(100):
                fds = [left.fileno(), right.fileno()]
                await caller.bus.call(NAME, ROOT, f"{NAME}.Manager", "ListSessions", fds=fds)
        await until(lambda: open_fds(daemon, "socket") <= before)


async def test_five_hundred_sessions_that_end_at_once_are_all_told_of_in_order(daemon: Daemon) -> None:
    daemon.config.write_text("[discovery]\nenabled = false\n[limits]\nsessions-per-user = 1000\n")
    await asyncio.to_thread(daemon.restart)
    removed: asyncio.Queue[str] = asyncio.Queue()
    async with client(daemon.bus.address) as caller:
        await caller.bus.subscribe(
            Match(NAME, interface=f"{NAME}.Manager", member="SessionRemoved"),
            lambda signal: removed.put_nowait(signal.args[0]),
        )
        with sleepers(500) as leaders:
            ids = [await caller.register(leader.pid) for leader in leaders]
        told = [await removed.get() for _ in ids]
        assert sorted(told) == sorted(ids)
        assert (await caller.call("ListSessions"))[0] == []


@pytest.mark.parametrize("interface", ["Reaper", "StopGate"])
async def test_history_is_as_long_as_fits_into_one_answer_and_begins_with_the_newest(
    daemon: Daemon, interface: str
) -> None:
    async with client(daemon.bus.address) as caller:
        for number in range(80):
            await caller.call(f"{interface}.SetMode", "ss", "off", f"reason {number} {'because ' * 500}")
        (rows,) = await caller.call(f"{interface}.History", "u", 0)
        (few,) = await caller.call(f"{interface}.History", "u", 3)
    told = [re.findall(r"reason \d+", row["Text"].value)[0] for row in rows]
    assert told == [f"reason {79 - number}" for number in range(len(told))]
    assert len("because " * 500) * len(told) > 128 * KIB
    assert few == rows[:3]


async def test_inhibitor_ends_with_its_holder_however_it_dies(daemon: Daemon) -> None:
    async with client(daemon.bus.address) as caller:
        before = open_fds(daemon, "pipe")
        reply = await caller.bus.call(
            NAME, ROOT, f"{NAME}.Manager", "Inhibit", "sssss", ["reap", "test", "why", "block", ""],
            takes_fds=True,
        )  # fmt: skip
        assert len((await caller.call("ListInhibitors"))[0]) == 1
        for fd in reply.fds:
            os.close(fd)
        await until_empty(caller, "ListInhibitors")
        await until(lambda: open_fds(daemon, "pipe") <= before)


async def test_writing_into_a_hold_gives_it_up(daemon: Daemon) -> None:
    async with client(daemon.bus.address) as caller:
        args = ["reap", "test", "why", "block", ""]
        reply = await caller.bus.call(
            NAME, ROOT, f"{NAME}.Manager", "Inhibit", "sssss", args, takes_fds=True
        )
        os.write(reply.fds[0], b"x")
        await until_empty(caller, "ListInhibitors")
        for fd in reply.fds:
            os.close(fd)


async def test_inhibitors_of_a_released_session_cost_no_fds(daemon: Daemon) -> None:
    async with client(daemon.bus.address) as caller:
        with sleepers(1) as (leader,):
            session = await caller.register(leader.pid)
            before, held_before = open_fds(daemon, "pipe"), held_pipes(daemon)
            args = ["reap", "test", "why", "block", session]
            held = [
                await caller.bus.call(
                    NAME, ROOT, f"{NAME}.Manager", "Inhibit", "sssss", args, takes_fds=True
                )
                for _ in range(32)
            ]
            assert held_pipes(daemon) >= held_before + 32
            await caller.call("ReleaseSession", "s", session)
            await until(lambda: open_fds(daemon, "pipe") <= before)
            for reply in held:
                for fd in reply.fds:
                    os.close(fd)


@pytest.mark.parametrize(
    ("member", "signature", "args", "error"),
    [
        ("ReleaseSession", "s", ["nobody"], "NoSuchSession"),
        ("ReleaseSession", "s", ["x" * 5000], "InvalidArgs"),
        ("ReleaseSession", "u", [7], "InvalidArgs"),
        ("ReleaseSession", "s", ["\x1b]0;owned\x07"], "NoSuchSession"),
        ("GetSessionByPID", "u", [1], "NoSuchSession"),
        ("GetSessionByPID", "u", [2**31], "NoSuchSession"),
        ("ReportEvent", "sss", ["cat", "Stop", "{}"], "InvalidArgs"),
        ("ReportEvent", "sss", ["codex", "Stop", "{"], "InvalidArgs"),
        ("ReportEvent", "sss", ["codex", "Stop", "[]"], "InvalidArgs"),
        ("ReportEvent", "sss", ["codex", "Stop", "[" * 100_000], "InvalidArgs"),
        ("ReportEvent", "sss", ["codex", "Stop", "x" * 300_000], "InvalidArgs"),
        ("Inhibit", "sssss", ["nap", "w", "w", "block", ""], "InvalidArgs"),
        ("Inhibit", "sssss", ["reap", "w", "w", "block", "nobody"], "NoSuchSession"),
        ("Reaper.SetMode", "ss", ["sometimes", "w"], "InvalidArgs"),
        ("TerminateSession", "ss", ["nobody", "w"], "NoSuchSession"),
        ("ResumeSession", "s", ["nobody"], "NoSuchSession"),
        ("Reaper.Explain", "s", [""], "NoSuchSession"),
    ],
)
async def test_bad_input_gets_one_clear_error(
    daemon: Daemon, member: str, signature: str, args: list[object], error: str
) -> None:
    async with client(daemon.bus.address) as caller:
        with pytest.raises(RemoteError) as failure:
            await caller.call(member, signature, *args)
        assert failure.value.name == f"{NAME}.Error.{error}"
        assert "\n" not in failure.value.text
        assert 10 < len(failure.value.text) < 500
        assert "Traceback" not in daemon.log
