"""The gauge over files, in virtual time: when it reads, and what it makes of odd files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from helpers.virtual_time import run_in_virtual_time, virtual_loop
from musterd.core.config import PressureConfig
from musterd.core.pressure import Pressure, PressureSource, Reading, Tier
from musterd.core.state import ClockMark
from musterd.core.suspend import Suspend
from musterd.host import psi
from musterd.host.psi import Gauge, Trigger
from musterd.host.ticks import next_tick

GIB = 2**30


class LoopClock:
    def now(self) -> int:
        return 1_800_000_000_000_000 + int(asyncio.get_running_loop().time() * 1_000_000)

    def stepped(self) -> int:
        return 0

    def twice(self) -> tuple[int, int]:
        return (0, 0)

    def suspends(self) -> tuple[Suspend, ...]:
        return ()

    def mark(self) -> ClockMark:
        return ClockMark()

    def recall(self, mark: ClockMark) -> None:
        pass


class FakeTrigger(Trigger):
    """A trigger that the test pulls."""

    def __init__(self, path: str) -> None:
        self._fired = asyncio.Event()
        self.is_closed = False

    def pull(self) -> None:
        self._fired.set()

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Machine:
    """Two files that look like those of a kernel, and the gauge on them."""

    config: PressureConfig
    triggers: list[FakeTrigger] = field(default_factory=list)

    def press(self, some: float, full: float = 0.0) -> None:
        self.write_psi(
            f"some avg10={some:.2f} avg60=0.00 avg300=0.00 total=7\n"
            f"full avg10={full:.2f} avg60=0.00 avg300=0.00 total=1\n"
        )

    def write_psi(self, text: str) -> None:
        Path(self.config.psi_path).write_text(text)

    def remove_psi(self) -> None:
        Path(self.config.psi_path).unlink()

    def write_meminfo(self, text: str) -> None:
        Path(self.config.meminfo_path).write_text(text)

    def leave(self, available: int, total: int = 16 * GIB) -> None:
        self.write_meminfo(f"MemTotal: {total // 1024} kB\nMemAvailable: {available // 1024} kB\n")

    def gauge(self) -> Gauge:
        return Gauge(self.config, LoopClock(), self._arm)

    def _arm(self, _: str) -> Trigger:
        self.triggers.append(FakeTrigger(""))
        return self.triggers[-1]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(PressureConfig(psi_path=str(tmp_path / "psi"), meminfo_path=str(tmp_path / "meminfo")))
    machine.press(0.0)
    machine.leave(12 * GIB)
    return machine


@pytest.fixture
def kernel(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The same, and its pressure file passes for the kernel's."""
    monkeypatch.setattr(psi, "KERNEL_FILES", (str(tmp_path),))
    return machine


async def follow(gauge: Gauge, seconds: float, readings: list[tuple[float, Reading]]) -> None:
    """Collect readings, and when they came, for so long."""
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for reading in gauge.readings():
                readings += [(loop.time(), reading)]


def test_a_plain_file_is_read_once_a_second(machine: Machine) -> None:
    readings: list[tuple[float, Reading]] = []
    run_in_virtual_time(follow(machine.gauge(), 60, readings))
    assert 60 <= len(readings) <= 61
    assert machine.triggers == []


@pytest.mark.parametrize(
    ("case", "available", "wakeups"),
    [
        ("far from the threshold: every minute", 12 * GIB, 10),
        ("3 GiB above it: every 30 s", int(4.7 * GIB), 20),
        ("100 MiB above it: every second", int(1.7 * GIB), 600),
    ],
)
def test_an_armed_gauge_sleeps_by_headroom(kernel: Machine, case: str, available: int, wakeups: int) -> None:
    async def main() -> int:
        kernel.leave(available)
        await follow(kernel.gauge(), 600, [])
        return len(virtual_loop().selector.jumps)

    assert abs(run_in_virtual_time(main()) - wakeups) <= 1
    assert len(kernel.triggers) == 1


def test_a_stall_is_read_at_once_and_followed_until_the_tier_falls(kernel: Machine) -> None:
    def stall() -> None:
        kernel.press(40.0, 20.0)
        kernel.triggers[0].pull()

    async def main() -> list[tuple[float, Reading]]:
        readings: list[tuple[float, Reading]] = []
        asyncio.get_running_loop().call_at(100.25, stall)
        asyncio.get_running_loop().call_at(100.5, kernel.press, 4.0)
        await follow(kernel.gauge(), 200, readings)
        return readings

    changes = {Tier.NORMAL: 0.0}
    pressure = Pressure()
    for at, reading in run_in_virtual_time(main()):
        before, pressure = pressure.tier, pressure.next(reading, kernel.config)
        if pressure.tier is not before:
            changes[pressure.tier] = at
    assert changes[Tier.CRITICAL] == pytest.approx(100.25)
    assert 130 < changes[Tier.NORMAL] < 133  # the dwell


def test_after_an_episode_it_is_armed_anew_and_the_tier_is_normal(kernel: Machine) -> None:
    async def main() -> None:
        gauge, pressures = kernel.gauge(), [Pressure()]
        follower = asyncio.create_task(fold(gauge, kernel.config, pressures))
        await next_tick(60)
        kernel.press(40.0)
        kernel.triggers[0].pull()
        await next_tick(60)
        assert (pressures[-1].tier, gauge.is_armed) == (Tier.ELEVATED, False)
        kernel.press(8.0)  # below the threshold, but not by enough
        await next_tick(60)
        assert (pressures[-1].tier, gauge.is_armed) == (Tier.ELEVATED, False)
        kernel.press(1.0)
        await next_tick(60)
        assert (pressures[-1].tier, gauge.is_armed) == (Tier.NORMAL, True)
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        assert not gauge.is_armed

    run_in_virtual_time(main())
    assert [trigger.is_closed for trigger in kernel.triggers] == [True, True]


async def fold(gauge: Gauge, config: PressureConfig, pressures: list[Pressure]) -> None:
    readings: AsyncIterator[Reading] = gauge.readings()
    try:
        async for reading in readings:
            pressures.append(pressures[-1].next(reading, config))
    finally:
        await readings.aclose()  # type: ignore[attr-defined]  # it is a generator


def test_scarce_memory_without_stalls_is_an_episode(kernel: Machine) -> None:
    readings: list[tuple[float, Reading]] = []
    kernel.leave(GIB)
    run_in_virtual_time(follow(kernel.gauge(), 60, readings))
    assert len(readings) >= 60


def test_while_armed_a_busy_caller_gets_the_last_reading(kernel: Machine) -> None:
    async def main() -> None:
        gauge = kernel.gauge()
        readings = gauge.readings()
        first = await anext(readings)
        second = asyncio.ensure_future(anext(readings))
        await asyncio.sleep(0)
        kernel.press(50.0)
        assert gauge.is_armed
        assert gauge.read() is first
        await asyncio.sleep(1)
        assert gauge.read().some_avg10 == 50.0
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    run_in_virtual_time(main())


def test_a_kernel_without_psi_leaves_available_memory(kernel: Machine) -> None:
    async def main() -> list[tuple[float, Reading]]:
        readings: list[tuple[float, Reading]] = []
        kernel.remove_psi()
        gauge = kernel.gauge()
        await follow(gauge, 120, readings)
        assert gauge.health == f"no PSI at '{kernel.config.psi_path}', available memory alone decides"
        return readings

    readings = run_in_virtual_time(main())
    assert {reading.source for _, reading in readings} == {PressureSource.PSUTIL}
    assert len(readings) <= 13
    assert kernel.triggers == []


def test_a_refused_trigger_means_reading_more_often(kernel: Machine) -> None:
    def refuse(path: str) -> Trigger:
        raise OSError(22, "Invalid argument", path)

    async def main() -> tuple[int, str]:
        readings: list[tuple[float, Reading]] = []
        gauge = Gauge(kernel.config, LoopClock(), refuse)
        await follow(gauge, 60, readings)
        return len(readings), gauge.health

    count, health = run_in_virtual_time(main())
    assert 12 <= count <= 14
    assert health == f"no trigger on '{kernel.config.psi_path}' (Invalid argument), reading it every 5 s"


@pytest.mark.parametrize(
    ("case", "spoil"),
    [
        ("nonsense", lambda path: path.write_text("no pressure at all\n")),
        ("empty", lambda path: path.write_text("")),
        ("bytes", lambda path: path.write_bytes(b"some avg10=\xff\xfe")),
        ("a directory", lambda path: (path.unlink(), path.mkdir())),
        ("huge", lambda path: path.write_text("x" * 1_000_000)),
    ],
)
def test_an_odd_file_is_told_and_the_last_reading_is_kept_for_a_while(
    machine: Machine, case: str, spoil: Callable[[Path], object]
) -> None:
    async def main() -> None:
        gauge = machine.gauge()
        machine.press(30.0, 5.0)
        first = gauge.read()
        spoil(Path(machine.config.psi_path))
        await asyncio.sleep(5)
        assert replace(gauge.read(), at=first.at) == first
        assert gauge.health.startswith(f"cannot read pressure from '{machine.config.psi_path}'")
        await asyncio.sleep(10)  # an average over 10 s is no news any more
        assert gauge.read().source is PressureSource.PSUTIL
        assert gauge.read().some_avg10 == 0.0

    run_in_virtual_time(main())


def test_unreadable_memory_is_told_and_the_last_reading_is_kept(machine: Machine) -> None:
    async def main() -> None:
        gauge = machine.gauge()
        first = gauge.read()
        machine.write_meminfo("MemTotal: what\n")
        assert gauge.read() == first
        assert "available memory" in gauge.health
        machine.leave(8 * GIB)
        assert gauge.read().available == 8 * GIB
        assert gauge.health == ""

    run_in_virtual_time(main())
