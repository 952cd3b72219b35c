import asyncio
import os
import signal
from dataclasses import replace

import pytest

from helpers.programs import Programs
from musterd.core.session import PidRef
from musterd.host.process import HeldProcess
from musterd.host.watch import ExitWatch


def ref(pid: int) -> PidRef:
    with HeldProcess(pid) as held:
        return held.ref


def has_ended(pid: int) -> None:
    """Wait for a child, without the loop."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_the_end_is_told_once_and_the_process_is_let_go() -> None:
    with Programs() as programs:
        pid = programs.start("sleep", "60")
        ended = asyncio.Event()
        watch = ExitWatch(ref(pid), ended.set)
        assert watch.process == ref(pid)
        assert not watch.has_ended
        os.kill(pid, signal.SIGKILL)
        await ended.wait()
        assert watch.has_ended
        watch.close()


async def test_an_end_is_told_in_the_loop_turn_in_which_the_kernel_tells() -> None:
    with Programs() as programs:
        pid = programs.start("sleep", "60")
        ended = asyncio.Event()
        watch = ExitWatch(ref(pid), ended.set)
        os.kill(pid, signal.SIGKILL)
        has_ended(pid)
        assert watch.has_ended  # known even before the loop comes around
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first turn polls, and calls in the same
        assert ended.is_set()


async def test_a_process_that_is_another_one_by_now_is_not_watched() -> None:
    with Programs() as programs:
        process = ref(programs.start("sleep", "60"))
        for other in (replace(process, start_ticks=1), replace(process, boot_id="x")):
            with pytest.raises(ProcessLookupError):
                ExitWatch(other, lambda: None)
        if process.inode:
            with pytest.raises(ProcessLookupError):
                ExitWatch(replace(process, inode=process.inode + 1), lambda: None)
        ExitWatch(replace(process, inode=0), lambda: None).close()  # state written on an older kernel


async def test_what_is_forgotten_is_not_told() -> None:
    with Programs() as programs:
        pid = programs.start("sleep", "60")
        told: list[str] = []
        watch = ExitWatch(ref(pid), lambda: told.append("ended"))
        watch.close()
        programs.end(pid)
        await asyncio.sleep(0)
        assert told == []


async def test_two_hundred_ends_at_once_are_all_told() -> None:
    with Programs() as programs:
        pids = [programs.start("sleep", "60") for _ in range(200)]
        left = set(pids)
        done = asyncio.Event()

        def ended(pid: int) -> None:
            left.discard(pid)
            if not left:
                done.set()

        watches = [ExitWatch(ref(pid), lambda pid=pid: ended(pid)) for pid in pids]  # type: ignore[misc]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await done.wait()
        assert all(watch.has_ended for watch in watches)
