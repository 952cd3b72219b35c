"""What all tests share: coroutine tests, no leftovers, a bus of their own."""

import asyncio
import inspect
import os
import signal
from collections.abc import Coroutine, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from helpers.patience import PATIENCES
from helpers.private_bus import DBusDaemon, PrivateBus
from helpers.programs import until

# Seconds; a test that waits longer waits for something that will not come.
TEST_TIMEOUT = float(os.environ.get("MUSTERD_TEST_TIMEOUT", "300"))

# A shell has what it starts in the background ignore it, and all below: some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a busy machine; and in CI the same ones come each time.
settings.register_profile(
    "musterd", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("musterd")


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for target, value in PATIENCES.items():
            patch.setattr(target, value)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(_run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})))
    return True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """No skipped test is a passed test: in CI it fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


async def _run(test: Coroutine[object, object, None]) -> None:
    async with asyncio.timeout(TEST_TIMEOUT):
        await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process or an fd."""
    fds, children, below = _fds(), _children(), _children(recursive=True)
    yield
    assert _children() - children == set(), "processes left behind"
    # What a daemon that outlives the test has started for itself ends soon.
    until(lambda: _children(recursive=True) <= below, "an end of all processes that were left behind")
    assert [f"{fd}: {what}" for fd, what in _fds().items() if fds.get(fd) != what] == [], "fds left behind"


@pytest.fixture
def private_bus(tmp_path: Path) -> Iterator[PrivateBus]:
    """A running dbus-daemon that nobody else uses; its `address` survives `restart()`."""
    with DBusDaemon(tmp_path / "bus") as bus:
        yield bus


def _fds() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


def _children(*, recursive: bool = False) -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=recursive)}
