"""Two buses, a stand-in for musterd on one, and a real notification service on the other."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.desktop import Dunst, Notifier, dunst, notifier, start_notifier, x_server
from helpers.fake_musterd import FakeMusterd, fake_musterd
from helpers.private_bus import DBusDaemon, PrivateBus


@dataclass
class Scene:
    musterd: FakeMusterd
    dunst: Dunst
    notifier: Notifier


class Stage:
    """Where the parts find each other; `play` starts all of them."""

    def __init__(self, work: Path, display: str, bus: PrivateBus, session_bus: PrivateBus) -> None:
        self.bus = bus
        self.session_bus = session_bus
        self._work = work
        self._display = display

    @asynccontextmanager
    async def play(self, *args: str, markup: str = "full") -> AsyncIterator[Scene]:
        async with AsyncExitStack() as stack:
            musterd = await stack.enter_async_context(fake_musterd(self.bus.address))
            desktop = await stack.enter_async_context(self.dunst(markup))
            helper = await stack.enter_async_context(self.notifier(*args))
            yield Scene(musterd, desktop, helper)

    def dunst(self, markup: str = "full") -> AbstractAsyncContextManager[Dunst]:
        return dunst(self._work, self._display, self.session_bus.address, markup)

    def notifier(self, *args: str) -> AbstractAsyncContextManager[Notifier]:
        return notifier(self.bus.address, self.session_bus.address, *args)

    async def run_notifier(self) -> tuple[int | None, str]:
        """One that ends by itself -> its exit status, and what it said."""
        process = await start_notifier(self.bus.address, self.session_bus.address)
        _, said = await process.communicate()
        return process.returncode, said.decode()


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    with x_server() as display:
        yield display


@pytest.fixture
def session_bus(tmp_path: Path) -> Iterator[PrivateBus]:
    directory = tmp_path / "session"
    directory.mkdir()
    with DBusDaemon(directory / "bus") as bus:
        yield bus


@pytest.fixture
def stage(tmp_path: Path, display: str, private_bus: PrivateBus, session_bus: PrivateBus) -> Stage:
    return Stage(tmp_path, display, private_bus, session_bus)
