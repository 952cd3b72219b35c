"""Terminals by their device: which one a process has, and when somebody last typed into it."""

import os

from musterd.core.units import USEC_PER_SEC

# Reads and writes move the times of a tty only when the clock changes above its lowest three bits, so that
# nobody can time another user's key strokes (tty_update_time() in Linux' drivers/tty/tty_io.c).
GRANULARITY = 8 * USEC_PER_SEC

_PTS_MAJOR, _CONSOLE_MAJOR, _CONSOLES = 136, 4, 64


def tty_path(device: int) -> str:
    """The path of a controlling terminal from field 7 of proc_pid_stat(5); "" for none, or a strange one."""
    major = device >> 8 & 0xFFF
    minor = device & 0xFF | device >> 12 & 0xFFF00
    if major == _PTS_MAJOR:
        path = f"/dev/pts/{minor}"
    elif major == _CONSOLE_MAJOR and minor < _CONSOLES:
        path = f"/dev/tty{minor}"
    else:
        return ""
    try:
        return path if os.stat(path).st_rdev == os.makedev(major, minor) else ""
    except OSError:
        return ""


def last_input(path: str) -> int:
    """When a program last read from the terminal at the latest, realtime µs. OSError.

    Its access time: set when the program behind it reads, whoever typed (a person, send-keys, a reply of the
    terminal), and not by output. It stays behind by up to `GRANULARITY`.
    """
    return os.stat(path).st_atime_ns // 1000 + GRANULARITY
