"""What musterd costs, printed; nothing is asserted. Ratios are against a floor measured in the same run.

make bench            evaluation of 1,000 sessions, an idle daemon, a call on the bus, a hook
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "daemon")]

from helpers.client import Client, client  # noqa: E402 - after the path is set
from helpers.daemon import ALONE, DAEMON, NAME, ROOT, Daemon  # noqa: E402
from helpers.private_bus import DBusDaemon  # noqa: E402
from helpers.processes import sleepers  # noqa: E402

SESSIONS = 1000
EVALUATIONS = 5
LIMITS = "[limits]\nsessions-per-user = 2000\n"
IDLE_SECONDS = 65
BLINK = (
    0.2  # seconds; what is closer together is one wake-up: a thread that waits for another, a busy machine
)
HOOK_ROUNDS = 60


class Shipped(Daemon):
    """As users have it."""

    module = "musterd"


def status(daemon: Daemon, field: str) -> int:
    assert daemon.process
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(f"{field}:")).split()[1])


def cpu(daemon: Daemon) -> float:
    """Seconds of CPU time that all its threads have taken (clock_getcpuclockid(3))."""
    assert daemon.process
    return time.clock_gettime(~daemon.process.pid << 3 | 2)


async def wakeups(daemon: Daemon, seconds: float) -> int:
    """How often it wakes up: all of it was asleep, and then something ran."""
    woken, before, was_awake = 0, cpu(daemon), False
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(BLINK)  # what is measured is that nothing happens meanwhile
        now = cpu(daemon)
        woken += now > before and not was_awake
        before, was_awake = now, now > before
    return woken


def forks() -> int:
    """Processes and threads that anybody on this machine has started."""
    text = Path("/proc/stat").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("processes")).split()[1])


async def median_ms(call: Callable[[], Awaitable[object]], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


async def evaluation(daemon: Daemon, caller: Client) -> None:
    with sleepers(SESSIONS) as leaders:
        began = time.perf_counter()
        for leader in leaders:
            await caller.register(leader.pid)
        each = (time.perf_counter() - began) / SESSIONS * 1000
        print(f"{SESSIONS} registrations, each on disk: {each:.2f} ms each")
        await caller.call("Reaper.ListVerdicts")
        before, spent = forks(), cpu(daemon)
        taken = await median_ms(lambda: caller.call("Reaper.ListVerdicts"), EVALUATIONS)
        started, spent = forks() - before, (cpu(daemon) - spent) / EVALUATIONS * 1000
        print(
            f"{SESSIONS} sessions, one evaluation of all: {taken:.0f} ms, of the CPU {spent:.0f} ms; "
            f"in {EVALUATIONS} of them {started} processes and threads started on this machine"
        )
        print(f"RSS with {SESSIONS} sessions: {status(daemon, 'VmRSS') / 1024:.1f} MiB")
        one = await median_ms(lambda: caller.call("ListSessions"), 20)
        print(f"list of {SESSIONS} sessions: {one:.1f} ms")


async def idle(daemon: Daemon) -> None:
    spent = cpu(daemon)
    woken = await wakeups(daemon, IDLE_SECONDS)
    spent = (cpu(daemon) - spent) * 1000
    rss, found = status(daemon, "VmRSS") / 1024, len(daemon.sessions())
    print(
        f"idle daemon: {woken} wake-ups in {IDLE_SECONDS} s, of the CPU {spent:.0f} ms, RSS {rss:.1f} MiB; "
        f"{found} sessions"
    )


async def calls(caller: Client) -> None:
    bus = "org.freedesktop.DBus"
    floor = await median_ms(lambda: caller.bus.call(bus, "/org/freedesktop/DBus", bus, "GetId"), 300)
    ours = await median_ms(lambda: caller.call("ListSessions"), 300)
    print(f"a call: {ours:.2f} ms, {ours / floor:.1f} times that of the bus itself ({floor:.2f} ms)")


def hook(daemon: Daemon) -> None:
    """A codex ends its turn. All ways take turns, so that a busy machine is fair to each."""
    daemon.register(os.getpid(), agent="codex")
    text = json.dumps({"session_id": "0199a213", "cwd": "/srv", "last_assistant_message": "done. " * 200})
    busctl = ["busctl", f"--address={daemon.bus.address}", "call"]
    bus = "org.freedesktop.DBus"
    report = [NAME, ROOT, f"{NAME}.Manager", "ReportEvent", "sss", "codex", "Stop", text]
    library = [sys.executable, "-m", "musterd.ctl", "hook"]
    ways = {
        "busctl, the same call": [*busctl, *report],
        "musterd-hook": [str(DAEMON / "musterd-hook"), "codex", "Stop"],
        "busctl, GetId of the bus": [*busctl, bus, "/org/freedesktop/DBus", bus, "GetId"],
        "musterctl hook": [*library, "codex", "Stop"],
    }
    if shutil.which("node"):
        ways["node -e 0"] = ["node", "-e", "0"]
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(HOOK_ROUNDS):
        for way, command in ways.items():
            began = time.perf_counter()
            subprocess.run(command, input=text.encode(), capture_output=True, env=daemon.env(), check=True)
            taken[way].append((time.perf_counter() - began) * 1000)
    floor = statistics.median(next(iter(taken.values())))
    for way, each in taken.items():
        median = statistics.median(each)
        print(f"a hook: {way}: {median:.1f} ms, {median / floor:.2f} times the floor")


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        with DBusDaemon(work / "bus") as bus:
            with Shipped(work, bus, "") as daemon:
                hook(daemon)
                await idle(daemon)
            with Shipped(work, bus, ALONE + LIMITS) as daemon:
                async with client(bus.address) as caller:
                    await calls(caller)
                    await evaluation(daemon, caller)


if __name__ == "__main__":
    asyncio.run(main())
