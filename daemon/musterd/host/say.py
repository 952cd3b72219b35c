"""One line on somebody's terminal, as data: nothing in it can steer the terminal."""

import os
import stat
import termios

# Above the line that the cursor is in (a prompt), and back to where it was: save the cursor, make room
# below, insert a line; restore, one down. On the last line the first step scrolls, the last stays.
# What stands below the prompt is of a program that was killed: it goes, or it would look like a part of what
# is typed there, once that takes more than a line.
_ABOVE, _BACK = "\x1b7\n\r\x1b[J\x1b[A\r\x1b[L", "\x1b8\x1b[B"

# What a program that was killed may have left on: it reports the mouse and the focus, the cursor is hidden.
_TIDY = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?25h\x1b[0m"


def say(device: str, uid: int, text: str) -> None:
    """Write a line above the prompt on a user's terminal, at once. OSError if it is none of theirs."""
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(device, flags)
    try:
        status = os.fstat(fd)
        if not stat.S_ISCHR(status.st_mode) or status.st_uid != uid or not os.isatty(fd):
            raise PermissionError(f"'{device}' is no terminal of user {uid}")
        line = printable(text)[: max(_width(fd) - 1, 0)]
        os.write(fd, f"{_TIDY}{_ABOVE}{line}{_BACK}".encode())
    finally:
        os.close(fd)


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _width(fd: int) -> int:
    _, columns = termios.tcgetwinsize(fd)
    return columns or 80
