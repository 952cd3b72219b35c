"""musterd-hook as an agent runs it, and a daemon that says what the test wants it to say."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from dbus_fast import Message

from musterd.bus.driver import CLAIM, claim
from musterd.bus.link import Link
from musterd.bus.names import BUS_NAME

from .daemon import DAEMON

PROGRAM = DAEMON / "musterd-hook"
TIMEOUT = 90.0  # seconds; a busy machine

MUSTERCTL = """#!/bin/sh
echo slow >>{notes}/ways
exec {python} -m musterd.ctl "$@"
"""
LOGGER = """#!/bin/sh
echo "$*" >>{notes}/log
"""
# A busy machine is no reason to say nothing, or to log nothing, in a test that is not about just that.
PATIENCE = "60"  # seconds
PATIENT_TIMEOUT = f"""#!/bin/sh
shift
exec {shutil.which("timeout")} {PATIENCE} "$@"
"""


@dataclass(frozen=True)
class Said:
    status: int
    stdout: bytes
    stderr: bytes


class Hook:
    """The hook, and beside it the musterctl of this checkout and a `logger` that writes down."""

    def __init__(self, directory: Path, bus: str, shell: Sequence[str] = ()) -> None:
        self.shell = shell
        self._notes = directory / "hook"
        self.bin = self._notes / "bin"
        self.bin.mkdir(parents=True)
        self.program = self.bin / PROGRAM.name
        self.program.symlink_to(PROGRAM)
        self.add("musterctl", MUSTERCTL.format(notes=self._notes, python=sys.executable))
        self.add("logger", LOGGER.format(notes=self._notes))
        self.add("timeout", PATIENT_TIMEOUT)
        own = {"HOME": str(directory), "MUSTERD_BUS": bus, "PYTHONPATH": str(DAEMON)}
        own["MUSTERD_HOOK_TIMEOUT"] = PATIENCE
        self.environ = {"PATH": f"{self.bin}:{os.defpath}", **own}

    def add(self, name: str, script: str) -> None:
        """A program that is found first."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def command(self, *args: str) -> list[str]:
        return [*self.shell, str(self.program), *args]

    def __call__(
        self, *args: str, stdin: bytes = b"{}", environ: Mapping[str, str] = MappingProxyType({})
    ) -> Said:
        done = subprocess.run(
            self.command(*args), input=stdin, capture_output=True, env={**self.environ, **environ},
            timeout=TIMEOUT, check=False,
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    @property
    def logged(self) -> list[str]:
        return self._read("log")

    @property
    def ways(self) -> int:
        """How often it went the slow way."""
        return len(self._read("ways"))

    @property
    def went_slow(self) -> bool:
        return self.ways > 0

    def _read(self, name: str) -> list[str]:
        file = self._notes / name
        return file.read_text(errors="replace").splitlines() if file.exists() else []


@dataclass
class FakeDaemon:
    """Answers calls with `signature` and `body`, or with `error`, or not at all; and writes them down."""

    signature: str = "bs"
    body: list[object] = field(default_factory=lambda: [False, ""])
    error: str = ""
    is_silent: bool = False
    delay: float = 0  # seconds
    told: list[list[object]] = field(default_factory=list)

    def says(self, output: str, *, block: bool = False) -> None:
        self.signature, self.body = "bs", [block, output]

    # What a link tells us

    def method_called(self, link: Link, message: Message) -> None:
        self.told.append(message.body)
        if not self.is_silent:
            asyncio.get_running_loop().call_later(self.delay, self._answer, link, message)

    def _answer(self, link: Link, message: Message) -> None:
        if self.error:
            link.send(Message.new_error(message, f"{BUS_NAME}.Error.Failed", self.error))
        else:
            link.send(Message.new_method_return(message, self.signature, self.body))

    def signal_received(self, link: Link, message: Message) -> None: ...

    def link_lost(self, link: Link, reason: str) -> None: ...


@contextmanager
def fake_daemon(address: str) -> Iterator[FakeDaemon]:
    """In a thread of its own, so that a test can wait for a program meanwhile."""
    fake, ready, ended = FakeDaemon(), threading.Event(), threading.Event()

    async def serve() -> None:
        link = await Link.open(address, fake, within=60)
        await claim(link, BUS_NAME, CLAIM)
        ready.set()
        await asyncio.to_thread(ended.wait)
        await link.close()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        assert ready.wait(60)
        yield fake
    finally:
        ended.set()
        thread.join()
