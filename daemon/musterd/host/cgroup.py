"""Scopes of sessions in the cgroup v2 hierarchy, alone or beside v1 (cgroups(7), hybrid)."""

import os
import re

from musterd.host.process import read_bytes

_LIMIT = 1024 * 1024  # bytes of a file of the kernel's

# What `musterctl run` makes is called so; no other unit's processes are ever ended together.
_SCOPE = re.compile(r"musterd-[^/]+\.scope")


def scope_of(pid: int) -> str:
    """The directory of the session's scope that a process is in; "" if it is in none."""
    try:
        path = _unified_path(read_bytes(f"/proc/{pid}/cgroup", _LIMIT).decode(errors="replace"))
        root, mount = _unified_mount()
    except (OSError, ValueError):
        return ""
    parts = path.split("/")
    depth = next((n for n, part in enumerate(parts) if _SCOPE.fullmatch(part)), None)
    if depth is None:
        return ""
    inside = os.path.relpath("/".join(parts[: depth + 1]), root)
    directory = os.path.join(mount, inside)
    return directory if ".." not in inside.split("/") and os.path.isdir(directory) else ""


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
