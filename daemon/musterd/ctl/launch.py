"""`run`: starts an agent in a scope of its own, and sees that it gets on the roll.

musterctl becomes the agent: terminal, signals and exit status are the agent's own, and nothing stays around.
What registers it is a process apart, since the leader of the session may well be a child of what is started.
"""

import asyncio
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from dbus_fast import Variant

from musterd.bus.names import PEER
from musterd.core.scope import knows_expansion, scope_words
from musterd.core.session import SESSION_MARK

from .client import Where, connect
from .failure import CtlError, Misused
from .text import printable

if TYPE_CHECKING:
    import psutil

    from musterd.agents.base import ProcessFacts

# Seconds from the start of an agent to where an adapter knows it; then it is registered as what it is.
RECOGNITION = 10.0
LOOK_PAUSE = 0.2  # seconds


def run(where: Where, args: Namespace) -> NoReturn:
    command: list[str] = args.rest
    if not command:
        raise Misused("'run' takes a command after '--'.", "musterctl run -- codex")
    if not shutil.which(command[0]):
        raise CtlError(f"Cannot run '{command[0]}': there is no such program.")
    asyncio.run(_find_daemon(where))
    around = scope_command(command)
    if not around:
        print("musterctl: No systemd answers here: it runs without a scope of its own.", file=sys.stderr)
    sys.stdout.flush()
    _see_to_its_registration(where, command, args.label or [])
    _become([*around, *command])


async def _find_daemon(where: Where) -> None:
    async with connect(where) as client:
        await client.call(PEER, "Ping")


def _become(command: list[str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a program inherits
        signal.signal(number, signal.SIG_DFL)
    # Of a session that this one may be started in: it is none of its own.
    environ = {name: value for name, value in os.environ.items() if name != SESSION_MARK}
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606 - no shell is wanted
    except OSError as exc:
        raise CtlError(f"Cannot run '{command[0]}': {exc.strerror}.") from exc


# Its scope


def scope_command(command: Sequence[str]) -> list[str]:
    """What stands before a command to start it in a scope; nothing where no systemd answers."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if os.path.exists(f"{runtime}/systemd/private"):
        is_user = True
    elif os.getuid() == 0 and os.path.exists("/run/systemd/private"):
        is_user = False
    else:
        return []
    if not shutil.which("systemd-run"):
        return []
    expanding = any("$" in word for word in command) and _expands()
    return scope_words(secrets.token_hex(4), is_user=is_user, knows_expansion=expanding)


def _expands() -> bool:
    done = subprocess.run(["systemd-run", "--version"], capture_output=True, text=True, check=False)
    return knows_expansion(done.stdout)


# Its registration


def _see_to_its_registration(where: Where, command: Sequence[str], labels: Sequence[str]) -> None:
    """In a grandchild: an agent knows no child that it has not started."""
    own = os.getpid()
    pidfd = os.pidfd_open(own)
    if child := os.fork():
        os.waitpid(child, 0)
        os.close(pidfd)
        return
    with suppress(BaseException):  # whatever goes wrong, this never becomes the agent
        if not os.fork():
            _stand_apart()
            pid = _await_leader(own, pidfd)
            if pid:
                asyncio.run(_register(where, pid, command, labels))
    os._exit(0)


def _stand_apart() -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def _await_leader(pid: int, pidfd: int) -> int:
    """The process that leads a session, as soon as one does; 0 if what was started has ended before."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    deadline = time.monotonic() + RECOGNITION
    while not poll.poll(LOOK_PAUSE * 1000):
        if leader := next(_leaders(pid), 0):
            return leader
        if time.monotonic() > deadline:
            return pid
    return 0


def _leaders(pid: int) -> Iterator[int]:
    """Leaders, as adapters see them, among a process and those below it."""
    import psutil

    from musterd.agents.base import Role
    from musterd.agents.catalog import ADAPTERS

    with suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.Error):
                facts, parent = _facts(process), process.parent()
                around = _facts(parent) if parent else None
                if any(adapter.role(facts, around) is Role.LEADER for adapter in ADAPTERS.values()):
                    yield process.pid


def _facts(process: "psutil.Process") -> "ProcessFacts":
    from musterd.agents.base import ProcessFacts

    return ProcessFacts(
        pid=process.pid,
        ppid=process.ppid(),
        uid=process.uids().real,
        start_ticks=0,  # recognising takes neither
        start_usec=0,
        executable=process.exe(),
        comm=process.name(),
        argv=tuple(process.cmdline()),
        cwd=process.cwd(),
        environ=process.environ(),
    )


async def _register(where: Where, pid: int, command: Sequence[str], labels: Sequence[str]) -> None:
    spec: Mapping[str, Variant] = {
        "pid": Variant("u", pid),
        "command": Variant("as", list(command)),
        "labels": Variant("as", ["run", *labels]),
    }
    try:
        async with connect(where) as client:
            await client.manager("RegisterSession", "a{sv}", spec)
    except CtlError as exc:
        import syslog

        syslog.openlog("musterctl", syslog.LOG_PID, syslog.LOG_USER)
        text = printable(f"{command[0]} ({pid}): {exc}")
        syslog.syslog(syslog.LOG_WARNING, f"Not registered: {text}, ignoring")
