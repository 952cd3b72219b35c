"""A desktop without a screen: an X server in memory, and dunst, which says what it shows."""

import asyncio
import json
import os
import re
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from helpers.bus_service import client
from helpers.daemon import DAEMON
from musterd.bus.driver import ask

START_TIMEOUT = 60.0  # seconds, on a busy machine

# Chooses from the menu of actions what the test wrote into the file, as a user would.
MENU = """#!/bin/sh
exec grep -m1 -F -f "{choice}"
"""
CONFIG = """
[global]
    dmenu = {menu}
    idle_threshold = 0
    history_length = 100
    notification_limit = 0
    markup = {markup}
# What has no time of its own stays: a test may take a while to choose from it.
[urgency_low]
    timeout = 0
[urgency_normal]
    timeout = 0
"""


@contextmanager
def x_server() -> Iterator[str]:
    """Its display."""
    ready, tell = os.pipe()
    command = ["Xvfb", "-displayfd", str(tell), "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"]
    try:
        process = subprocess.Popen(command, pass_fds=[tell], stderr=subprocess.DEVNULL)
    finally:
        os.close(tell)
    try:
        with os.fdopen(ready) as lines:
            number = lines.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(START_TIMEOUT)


@dataclass(frozen=True)
class Shown:
    """A notification as dunst showed it."""

    id: int
    summary: str
    body: str
    formatted: str  # what is drawn, in Pango markup
    urgency: str
    timeout: str
    desktop_entry: str
    actions: Mapping[str, str] = field(default_factory=dict)


class Dunst:
    """Made by `dunst`."""

    def __init__(self, work: Path, environ: Mapping[str, str], process: Process) -> None:
        self._choice = work / "choice"
        self._environ = environ
        self._process = process

    async def shown(self) -> Shown:
        """The next one that it shows, or shows anew."""
        assert self._process.stdout is not None
        lines = []
        while (line := (await self._process.stdout.readline()).decode()) != "}\n":
            assert line, "dunst ended"
            lines.append(line)
        return parse_shown("".join(lines))

    async def click(self, label: str) -> None:
        """Choose an action from dunst's menu, which has those of all that is displayed."""
        self._choice.write_text(f"#{label} (")
        await self.ctl("context")

    async def displayed(self) -> int:
        return int(await self.ctl("count", "displayed"))

    async def history(self) -> list[str]:
        """Summaries of what was closed, the latest first."""
        (rows,) = json.loads(await self.ctl("history"))["data"]
        return [row["summary"]["data"] for row in rows]

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.communicate()

    async def ctl(self, *args: str) -> str:
        process = await asyncio.create_subprocess_exec("dunstctl", *args, env=self._environ, stdout=PIPE)
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode()


@asynccontextmanager
async def dunst(work: Path, display: str, address: str, markup: str = "full") -> AsyncIterator[Dunst]:
    """On the bus at `address`, where it has its name when the block begins; ended by its pid."""
    menu = work / "menu"
    menu.write_text(MENU.format(choice=work / "choice"))
    menu.chmod(0o755)
    config = work / "dunstrc"
    config.write_text(CONFIG.format(menu=menu, markup=markup))
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "DISPLAY": display,
        "DBUS_SESSION_BUS_ADDRESS": address,
        "LC_ALL": "C.UTF-8",
    }
    with (work / "dunst.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            "dunst", "-print", "-conf", str(config), env=environ, stdout=PIPE, stderr=log
        )
    running = Dunst(work, environ, process)
    try:
        await _named(address, process)
        yield running
    finally:
        await running.stop()


async def _named(address: str, process: Process) -> None:
    """What is to be shown before is told as one, the latest of it."""
    async with asyncio.timeout(START_TIMEOUT), client(address) as link:
        while not (await ask(link, "NameHasOwner", "s", "org.freedesktop.Notifications"))[0]:
            assert process.returncode is None, "dunst ended"
            await asyncio.sleep(0.01)


_FIELDS = re.compile(
    r"^\t(summary|body|urgency|timeout|desktop_entry|formatted|id): (.*?)$(?=\n\t\w+)",
    re.MULTILINE | re.DOTALL,
)
_ACTION = re.compile(r'^\t\t"(.*)": "(.*)"$', re.MULTILINE)


def parse_shown(text: str) -> Shown:
    """One block of `dunst -print`."""
    values = {name: value.strip("'") for name, value in _FIELDS.findall(text)}
    return Shown(int(values.pop("id")), **values, actions=dict(_ACTION.findall(text)))


class Notifier:
    """`musterd-notify`, running. Made by `notifier`."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def says(self, text: str) -> str:
        """The next line of its log that has `text`."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.said.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}: {self.said}")


async def start_notifier(musterd_bus: str, session_bus: str, *args: str) -> Process:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "musterd.notifier", "--bus", musterd_bus, *args,
        env={**kept, "PYTHONPATH": str(DAEMON), "DBUS_SESSION_BUS_ADDRESS": session_bus},
        stderr=PIPE,
    )  # fmt: skip


@asynccontextmanager
async def notifier(musterd_bus: str, session_bus: str, *args: str) -> AsyncIterator[Notifier]:
    """It hears what happens when the block begins, and has ended well when it is left."""
    process = await start_notifier(musterd_bus, session_bus, *args)
    running = Notifier(process)
    try:
        await running.says("Telling of what musterd")
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        _, rest = await process.communicate()
        running.said.append(rest.decode())
    assert process.returncode == 0, running.said
    assert "Traceback" not in "".join(running.said), running.said
