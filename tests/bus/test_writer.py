"""What the library's own writer does not survive."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.bus_service import ROOT, TEST, Service, call, client, message
from helpers.private_bus import PrivateBus

SLOW_READER = Path(__file__).parents[1] / "helpers" / "slow_reader.py"


@asynccontextmanager
async def slow_reader(address: str, calls: int, signals: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, SLOW_READER, address, str(calls), str(signals), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_burst_of_signals_and_large_replies_reaches_a_slow_reader_in_order(
    private_bus: PrivateBus,
) -> None:
    service = Service()
    service.release.clear()
    async with service.on(private_bus.address) as bus, slow_reader(private_bus.address, 20, 5000) as reader:
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"ready\n"
        await asyncio.gather(*(service.held.get() for _ in range(20)))
        os.kill(reader.pid, signal.SIGSTOP)

        private_bus.signal(signal.SIGSTOP)  # so that the socket is full for certain
        service.release.set()
        sent = [bus.emit(ROOT, TEST, "Tick", [number, "x" * 400]) for number in range(5000)]
        assert bus.queued_bytes > 1_000_000
        private_bus.signal(signal.SIGCONT)
        assert bus._link is not None
        await bus._link.drain()
        os.kill(reader.pid, signal.SIGCONT)
        got = json.loads(await reader.stdout.read())

        assert all(sent)
        assert got["signals"] == list(range(5000))
        assert got["replies"] == sorted(got["replies"])
        assert service.states.empty()


async def test_client_that_never_reads_stops_nobody_else(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as deaf:
        deaf.stop_reading()
        for _ in range(60):
            deaf.send(message("Blob", "u", 200_000))
        async with client(private_bus.address) as other:
            assert await call(other, "Echo", "s", "still there") == ("still there",)
        assert service.states.empty()


async def test_clients_that_pipeline_get_an_answer_to_each_call(private_bus: PrivateBus) -> None:
    async def flood() -> list[object]:
        async with client(private_bus.address) as link:
            calls = [link.call(message("Echo", "s", "hello"), within=60) for _ in range(128)]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    service = Service()
    async with service.on(private_bus.address):
        answers = await asyncio.gather(*(flood() for _ in range(8)))

        assert all(len(each) == 128 for each in answers)
        kinds = {str(getattr(answer, "name", "")) for each in answers for answer in each}
        assert kinds <= {"", "org.musterd.Muster1.Error.LimitReached"}
        assert service.states.empty()


async def test_message_sent_after_the_end_fails_instead_of_touching_another_socket(
    private_bus: PrivateBus,
) -> None:
    service = Service()
    async with service.on(private_bus.address):
        async with client(private_bus.address) as link:
            pass
        async with client(private_bus.address) as successor:  # has the fd number of the first, most likely
            with pytest.raises(Exception, match="closed"):
                await link.send(message("Echo", "s", "late"))
            assert await call(successor, "Echo", "s", "fine") == ("fine",)
