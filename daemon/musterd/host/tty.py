"""Terminals by their device: which one a process has, and when somebody last typed into it."""

import os
import termios

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


def path_here(pid: int, device: int) -> str:
    """As `tty_path`, of the terminal that this process has; "" if it is that of a container.

    Each mount of devpts numbers its terminals anew: what has a number there is another one here.
    """
    path = tty_path(device)
    minor = path.rpartition("/")[2]
    for fd in range(3) if path else ():
        try:
            place = f"/proc/{pid}/fd/{fd}"
            if not os.readlink(place).endswith(f"/{minor}"):
                continue  # and whatever it is may hang
            theirs, ours = os.stat(place), os.stat(path)
        except OSError:
            continue
        if theirs.st_rdev == ours.st_rdev:
            return path if theirs.st_dev == ours.st_dev else ""
    return path  # it is not told


def last_input(path: str) -> int:
    """When a program last read from the terminal at the latest, realtime µs. OSError.

    Its access time: set when the program behind it reads, whoever typed (a person, send-keys, a reply of the
    terminal), and not by output. It stays behind by up to `GRANULARITY`.
    """
    return os.stat(path).st_atime_ns // 1000 + GRANULARITY


def is_line_edited(path: str) -> bool:
    """Whether its program edits lines itself, as a shell does only while it is at its prompt. OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return not termios.tcgetattr(fd)[3] & termios.ICANON
    except termios.error as exc:
        raise OSError(*exc.args) from exc
    finally:
        os.close(fd)


def foreground(pid: int) -> int:
    """The process group in front on the terminal of a process, field 8 of proc_pid_stat(5); 0 if untold."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return max(int(stat.read().rpartition(b")")[2].split()[5]), 0)
    except (OSError, ValueError, IndexError):
        return 0
