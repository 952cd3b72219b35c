"""The gauge and its trigger over the kernel's own pressure file, with real stalls."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.memory_stall import Stall, memory_stall
from musterd.core.config import PressureConfig
from musterd.core.pressure import PressureSource, parse_psi
from musterd.host import psi
from musterd.host.clock import HostClock
from musterd.host.psi import Gauge, Trigger

PRESSURE = "/proc/pressure/memory"

if not os.path.exists(PRESSURE):
    pytest.skip("this kernel has no pressure stall information", allow_module_level=True)

NOBODY = 65534

# Modules are imported before the privileges are dropped: the checkout may be private.
WAITER = """
import asyncio, os, sys
from musterd.host.psi import Trigger

async def main():
    trigger = Trigger(sys.argv[1])
    print("armed", flush=True)
    print("fired" if await trigger.fired(120) else "silent", flush=True)
    trigger.close()

uid = int(sys.argv[2])
if uid != os.getuid():
    os.setgroups([])
    os.setresuid(uid, uid, uid)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def stall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stall]:
    with memory_stall(tmp_path_factory.mktemp("stall")) as stall:
        yield stall


@pytest.mark.parametrize("uid", [os.getuid(), *([NOBODY] if os.getuid() == 0 else [])])
def test_any_user_can_wait_for_a_stall(uid: int, stall: Stall) -> None:
    package = Path(psi.__file__).parents[2]
    command = [sys.executable, "-c", WAITER, PRESSURE, str(uid)]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as waiter:
        assert waiter.stdout
        assert waiter.stdout.readline() == "armed\n"
        with stall.running():
            assert waiter.stdout.readline() == "fired\n"


async def test_stalls_wake_the_gauge_again_and_again(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi, "CALM", 1.0)
    # Thresholds that are never reached: an episode is over when it has been calm.
    config = PressureConfig(elevated_some=100.0, critical_full=100.0)
    gauge = Gauge(config, HostClock())
    readings = gauge.readings()
    totals = []
    for _ in range(2):
        reading = await anext(readings)
        upcoming = asyncio.ensure_future(anext(readings))
        while not gauge.is_armed:  # readings of an episode come every second
            with suppress(TimeoutError):
                reading = await asyncio.wait_for(asyncio.shield(upcoming), 1.5)
                upcoming = asyncio.ensure_future(anext(readings))
                await asyncio.sleep(0)
        assert reading.source is PressureSource.PSI
        with stall.running():
            await asyncio.wait_for(upcoming, 60)
        totals.append(total())
    assert totals[0] < totals[1]
    assert gauge.health == ""
    await readings.aclose()  # type: ignore[attr-defined]  # it is a generator


def total() -> int:
    return parse_psi(Path(PRESSURE).read_text()).some_total


async def test_a_refused_trigger_leaves_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        Trigger("/proc/self/oom_score_adj")
