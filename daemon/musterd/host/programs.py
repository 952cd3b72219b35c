"""Programs started for their answer: bounded in output, and gone afterwards with their process group."""

import asyncio
import logging
import os
import pwd
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_CHUNKS = 16  # read before the loop turns; a pipe holds one of them

_LOOKS, _PAUSE = 50, 0.005  # seconds that the kernel gets to let go of what was killed

# Of our own environment, what a user's programs are used to find; nothing of the service manager's.
_SYSTEM = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_PERSONAL = (
    "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TMUX_TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "DISPLAY", "WAYLAND_DISPLAY",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    status: int  # exit status; that of a signal is negative
    output: bytes
    is_cut: bool  # it wrote more than the limit, and was killed for that


async def ask(
    *command: str,
    environ: Mapping[str, str] | None = None,
    limit: int,
    uid: int | None = None,
    with_errors: bool = False,
) -> Answer:
    """Start a program as that user (or as we are), read what it writes, wait for its end.

    When it has ended, writes more than `limit` bytes, or this is cancelled (as by a deadline), its process
    group is killed. OSError if it cannot be started, or there are no fds for it.

    Not asyncio's own subprocesses: those leave a pipe open whose process was killed while it wrote.
    """
    process = _start(command, environ or {}, uid, with_errors=with_errors)
    assert process.stdout is not None
    with process.stdout:
        try:
            output = await _listen(process.pid, process.stdout.fileno(), limit)
        finally:
            await _end(process)
    status = -signal.SIGKILL if process.returncode is None else process.returncode
    return Answer(status, bytes(output[:limit]), len(output) > limit)


def user_environ(uid: int) -> Mapping[str, str]:
    """A clean environment for programs of that user."""
    names = (*_SYSTEM, *_PERSONAL) if uid == os.geteuid() else _SYSTEM
    kept = {name: os.environ[name] for name in names if name in os.environ}
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return {"PATH": os.defpath, **kept}
    known = {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": user.pw_shell}
    return {"PATH": os.defpath, **known, **kept}


def _start(
    command: Sequence[str], environ: Mapping[str, str], uid: int | None, *, with_errors: bool
) -> subprocess.Popen[bytes]:
    """A clean environment, unless one is given: nothing of ours is a program's business.

    In "/", as a working directory that hangs would hang us: env(1) can change to it.
    """
    is_other = uid is not None and uid != os.geteuid()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_errors else subprocess.DEVNULL,
        env=environ or {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
        bufsize=0,
        user=uid if is_other else None,
        group=_groups(uid)[0] if uid is not None and is_other else None,
        extra_groups=_groups(uid)[1] if uid is not None and is_other else None,
    )


def _groups(uid: int) -> tuple[int, Sequence[int]]:
    """The groups of a user: its own first, then all."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return uid, ()
    return user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)


async def _listen(pid: int, pipe: int, limit: int) -> bytearray:
    """What it writes until it ends, or wrote too much. What it left behind may hold the pipe for longer."""
    output, is_open = bytearray(), True
    os.set_blocking(pipe, False)
    pidfd = os.pidfd_open(pid)
    try:
        while True:
            await _readable(pidfd, *([pipe] if is_open else []))
            has_ended = _is_readable(pidfd)  # asked first: what it wrote before is in the pipe by now
            is_open = is_open and _drain(pipe, output)
            if has_ended or len(output) > limit:
                return output
    finally:
        os.close(pidfd)


def _drain(pipe: int, output: bytearray) -> bool:
    """Whether more may come."""
    for _ in range(_CHUNKS):
        try:
            chunk = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        output += chunk
    return True


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill its group, and make sure that it is gone, with no fd: there may be none left. What the kernel
    does not let go within that time, subprocess reaps when it starts another."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # the id is its own until it is waited for
    for _ in range(_LOOKS):
        if process.poll() is not None:
            return
        await asyncio.sleep(_PAUSE)
    logger.debug("Process %d does not end, although it was killed", process.pid)


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


async def _readable(*fds: int) -> None:
    """Until one of them is."""
    loop = asyncio.get_running_loop()
    is_readable = asyncio.Event()
    for fd in fds:
        loop.add_reader(fd, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        for fd in fds:
            loop.remove_reader(fd)
