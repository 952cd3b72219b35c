"""Verbs that last: events -f, top, hold. Nothing is slept for: they are read as they write."""

import asyncio
import json
import os
import pty
import select
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from helpers.installation import Installation
from helpers.programs import until

from .conftest import Enrol


@asynccontextmanager
async def running(musterd: Installation, *args: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *musterd.ctl_command(*args), env=musterd.environ, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: Process, *words: str) -> str:
    """The next line that has all of these; fails when the program ends before."""
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if all(word in line for word in words):
            return line
    raise AssertionError(f"it ended without {words}")


def is_held(musterd: Installation, session_id: str) -> bool:
    return str(musterd.json("explain", session_id)["KeptBy"]) == "inhibited"


def until_let_go(musterd: Installation, session_id: str) -> None:
    """The daemon hears of the end of a holder as we do, perhaps later."""
    until(lambda: not is_held(musterd, session_id), "nobody holds it any more")


async def test_events_are_followed(musterd: Installation, enrol: Enrol) -> None:
    first = enrol()
    async with running(musterd, "events", "-f", "-n", "1") as process:
        await line_with(process, first)
        second = await asyncio.to_thread(enrol)
        await line_with(process, second, "registered")


async def test_ctrl_c_ends_following_without_failure(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    async with running(musterd, "events", "-f") as process:
        await line_with(process, session_id)
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (0, b"")


async def test_top_writes_a_line_for_each_change_where_there_is_no_terminal(
    musterd: Installation, enrol: Enrol
) -> None:
    async with running(musterd, "top", "--interval", "60") as process:
        await line_with(process, "Reaper: dry-run")
        session_id = await asyncio.to_thread(enrol)
        await line_with(process, session_id, "starting")
        await asyncio.to_thread(musterd.ctl, "protect", session_id)
        await line_with(process, session_id, "pinned")
        await asyncio.to_thread(musterd.ctl, "release", session_id)
        await line_with(process, session_id, "off the roll")


async def test_top_for_programs_is_an_object_a_line(musterd: Installation, enrol: Enrol) -> None:
    async with running(musterd, "top", "--json", "--interval", "60") as process:
        before = json.loads(await line_with(process, "{"))
        session_id = await asyncio.to_thread(enrol)
        after = json.loads(await line_with(process, session_id))
    assert set(before) == set(after) == {"Manager", "Reaper", "Sessions"}
    assert session_id in [session["Id"] for session in after["Sessions"]]


@pytest.mark.parametrize("key", [b"q", b"\x03"])
async def test_top_on_a_terminal_draws_and_leaves_it_as_it_was(
    musterd: Installation, enrol: Enrol, key: bytes
) -> None:
    session_id = enrol()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve("/usr/bin/env", ["env", *musterd.ctl_command("top")], {**musterd.environ, "TERM": "xterm"})
    try:
        shown = await _read_until(terminal, b"\x1b[J")
        assert shown.startswith(b"\x1b[?1049h")
        assert session_id.encode() in shown
        assert b"q ends." in shown
        assert f"export MUSTERD_BUS={musterd.environ['MUSTERD_BUS']}".encode() in shown
        os.write(terminal, key)
        assert b"\x1b[?1049l" in await _read_until(terminal, b"\x1b[?1049l")
    finally:
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


async def _read_until(terminal: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        shown += await asyncio.to_thread(os.read, terminal, 4096)
    return shown


def test_a_hold_lasts_as_long_as_its_command(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    command = musterd.ctl_command("--json", "explain", session_id)
    outcome = musterd.ctl("hold", session_id, "--why", "a build", "--", *command)
    assert '"KeptBy": "inhibited"' in outcome.stdout
    until_let_go(musterd, session_id)


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -TERM $$", 143)])
def test_a_hold_ends_as_its_command_does(
    musterd: Installation, enrol: Enrol, script: str, status: int
) -> None:
    assert musterd.ctl("hold", enrol(), "--", "sh", "-c", script).status == status


async def test_a_hold_that_is_ended_just_after_its_command_says_how_that_ended(
    musterd: Installation, enrol: Enrol
) -> None:
    async with running(musterd, "hold", enrol(), "--", "sh", "-c", "echo $$; kill -STOP $$") as process:
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        process.send_signal(signal.SIGSTOP)
        command = os.pidfd_open(pid)
        signal.pidfd_send_signal(command, signal.SIGKILL)
        await asyncio.to_thread(select.select, [command], [], [])
        os.close(command)
        process.send_signal(signal.SIGTERM)  # both are news at the same moment
        process.send_signal(signal.SIGCONT)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (128 + signal.SIGKILL, b"")


def test_a_hold_of_no_program_fails(musterd: Installation, enrol: Enrol) -> None:
    outcome = musterd.ctl("hold", enrol(), "--", "/no/such/program")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "Cannot run '/no/such/program'" in outcome.stderr


async def test_a_hold_by_hand_lasts_until_ctrl_c(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    async with running(musterd, "hold", session_id) as process:
        assert process.stderr is not None
        assert session_id in (await process.stderr.readline()).decode()
        assert await asyncio.to_thread(is_held, musterd, session_id)
        (held,) = (await asyncio.to_thread(musterd.json, "status"))["Inhibitors"]
        assert (held["What"], held["Session"], held["PID"]) == ("reap", session_id, process.pid)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    await asyncio.to_thread(
        until, lambda: musterd.json("status")["NInhibitors"] == 0, "it is told of no more"
    )


async def test_a_killed_holder_holds_no_longer(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    async with running(musterd, "hold", "--all") as process:
        assert process.stderr is not None
        await process.stderr.readline()
        assert await asyncio.to_thread(is_held, musterd, session_id)
        process.kill()
        await process.wait()
    await asyncio.to_thread(until_let_go, musterd, session_id)
