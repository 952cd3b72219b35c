"""Scopes of sessions in the cgroup v2 hierarchy, alone or beside v1 (cgroups(7), hybrid)."""

import os
import time
from contextlib import suppress

from musterd.core.scope import UNIT
from musterd.host.process import read_bytes

_LIMIT = 1024 * 1024  # bytes of a file of the kernel's

# Bytes; a write cannot be stopped, and where it swaps it waits for the disk.
_RECLAIM_STEP = 16 * 1024 * 1024
RECLAIM_TIME = 1.5  # seconds


def scope_of(pid: int) -> str:
    """The directory of the session's scope that a process is in; "" if it is in none."""
    try:
        path = _unified_path(read_bytes(f"/proc/{pid}/cgroup", _LIMIT).decode(errors="replace"))
        root, mount = _unified_mount()
    except (OSError, ValueError):
        return ""
    parts = path.split("/")
    depth = next((n for n, part in enumerate(parts) if UNIT.fullmatch(part)), None)
    if depth is None:
        return ""
    inside = os.path.relpath("/".join(parts[: depth + 1]), root)
    directory = os.path.join(mount, inside)
    return directory if ".." not in inside.split("/") and os.path.isdir(directory) else ""


def unit_of(pid: int) -> str:
    """The name of that scope; "" if there is none."""
    return os.path.basename(scope_of(pid))


def reclaim(scope: str) -> None:
    """Have the kernel take back memory from it, writing out and dropping what it can (memory.reclaim).

    Nothing happens without control of its memory: no controller in cgroup v2, a Linux before 5.19, not ours
    to write; or when it ends meanwhile.
    """
    with suppress(OSError):
        fd = os.open(f"{scope}/memory.reclaim", os.O_WRONLY | os.O_CLOEXEC)
        try:
            _reclaim(scope, fd)
        finally:
            os.close(fd)


def _reclaim(scope: str, fd: int) -> None:
    left = held(scope)
    deadline = time.monotonic() + RECLAIM_TIME
    while left > 0 and time.monotonic() < deadline:
        try:
            os.write(fd, b"%d" % min(left, _RECLAIM_STEP))
        except BlockingIOError:
            break  # less than that was to be had, and that is taken (EAGAIN)
        now = held(scope)
        if now >= left:
            break
        left = now


def held(scope: str) -> int:
    """Bytes that all in it hold, with what the kernel holds for them; 0 if that is not told."""
    try:
        return int(read_bytes(f"{scope}/memory.current", _LIMIT))
    except (OSError, ValueError):
        return 0


def members(scope: str) -> set[int]:
    """All processes in it and in groups below; empty if it is gone."""
    pids: set[int] = set()
    for directory, _, _ in os.walk(scope):
        try:
            text = read_bytes(f"{directory}/cgroup.procs", _LIMIT)
        except OSError:
            continue
        pids |= {int(pid) for pid in text.split()}
    return pids - {0}  # of another pid namespace


def kill(scope: str) -> bool:
    """SIGKILL to all in it at once, also to those that fork this moment (cgroup.kill, Linux 5.14)."""
    try:
        fd = os.open(f"{scope}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, b"1")
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _unified_path(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::").removesuffix(" (deleted)")
    raise ValueError("no cgroup v2")


def _unified_mount() -> tuple[str, str]:
    """The group that is mounted, and where (proc_pid_mountinfo(5))."""
    for line in read_bytes("/proc/self/mountinfo", _LIMIT).decode(errors="replace").splitlines():
        head, _, tail = line.partition(" - ")
        if tail.startswith("cgroup2 "):
            _, _, _, root, mount, *_ = head.split(" ")
            return root, mount
    raise ValueError("no cgroup v2")
