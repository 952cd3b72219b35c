"""musterd-warden: when it calls, and when it leaves."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.daemon import DAEMON
from helpers.private_bus import PrivateBus
from musterd.bus.connection import BusConnection
from musterd.bus.errors import BusGone
from musterd.host.notify import Notifier
from musterd.warden import service as module
from musterd.warden.service import Options, WardenService, parse_arguments, serve


class Called(WardenService):
    """`hand_out` is what musterd does when it is called."""

    hand_out: Callable[[], socket.socket]

    async def _attach(self) -> socket.socket:
        return self.hand_out()


@asynccontextmanager
async def called(address: str, hand_out: Callable[[], socket.socket]) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, BusConnection.open(address, tasks) as bus:
        service = Called(bus, Options(address, 600, "info"), Notifier(), stop)
        service.hand_out = hand_out
        running = tasks.create_task(service.run())
        yield stop
        running.cancel()


async def test_musterd_that_stays_away_is_not_waited_for_for_ever(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def nobody() -> socket.socket:
        calls.append(1)
        if len(calls) == 3:
            monkeypatch.setattr(module, "PATIENCE", 0.0)  # as if that long had passed
        raise BusGone("there is none")

    async with called(private_bus.address, nobody) as stop:
        await stop.wait()
    assert len(calls) == 3


@pytest.mark.parametrize("words", [b"", b"{}\n", b'{"welcome": 1}\n', b"nonsense\n"])
async def test_musterd_of_another_version_gets_room_for_another_warden(
    private_bus: PrivateBus, words: bytes
) -> None:
    others = []

    def closed() -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.sendall(words)
        theirs.shutdown(socket.SHUT_WR)
        others.append(theirs)
        return ours

    async with called(private_bus.address, closed) as stop:
        await stop.wait()
    for other in others:
        other.close()
    assert len(others) == 1


async def test_one_that_is_not_wanted_asks_its_unit_for_another(
    private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(_: WardenService) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours

    monkeypatch.setattr(WardenService, "_attach", closed)
    assert await serve(Options(private_bus.address, 600, "info")) == os.EX_TEMPFAIL
    unit = (Path(__file__).parents[2] / "units/musterd-warden@.service").read_text().splitlines()
    assert {"SuccessExitStatus=TEMPFAIL", "RestartForceExitStatus=TEMPFAIL"} < set(unit)


def test_command_line_names_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSTERD_BUS", raising=False)
    assert parse_arguments([]) == Options("system", 600.0, "info")
    assert parse_arguments(["--bus", "unix:path=/x", "--idle", "5"]) == Options("unix:path=/x", 5.0, "info")


def test_without_a_bus_it_fails() -> None:
    command = [sys.executable, "-m", "musterd.warden.service", "--bus", "unix:path=/nonexistent"]
    env = {"PYTHONPATH": str(DAEMON), "HOME": "/nonexistent"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == "cannot connect to bus 'unix:path=/nonexistent': No such file or directory; "
        "is that the address of one that runs?\n"
    )
