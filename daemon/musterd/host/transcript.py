"""The tail of a file that another program writes: whole new lines, whatever was done to the file."""

import errno
import os
import stat
from dataclasses import dataclass

from musterd.core.evidence import Transcript

TAIL = 256 * 1024  # bytes read of a file that is seen for the first time
BURST = 4 * 1024 * 1024  # new bytes read at once; behind more than that only the tail is read again
LINE_LIMIT = 1024 * 1024  # bytes; a longer line is passed over
_MARK = 64  # bytes before our position that must still be the same when we come back


class Unreadable(Exception):
    """A file that must not or cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Lines:
    """What is new: whole lines."""

    lines: tuple[str, ...] = ()
    restarted: bool = False  # another file, or a rewritten one: its tail


def open_regular(path: str, uid: int | None) -> tuple[int, os.stat_result]:
    """Open a regular file, of `uid` if given. Never waits, follows no link. Raises Unreadable."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except (OSError, ValueError) as exc:
        raise Unreadable(f"'{path}' {_reason(exc)}") from exc
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        reason = f"is {_kind(status.st_mode)}, not a file"
    elif uid is not None and status.st_uid != uid:
        reason = f"belongs to user {status.st_uid}"
    else:
        return fd, status
    os.close(fd)
    raise Unreadable(f"'{path}' {reason}")


def read_text(path: str, uid: int | None, limit: int) -> str:
    """The first `limit` bytes of a small file. Raises Unreadable."""
    fd, _ = open_regular(path, uid)
    try:
        return os.pread(fd, limit, 0).decode(errors="replace")
    except OSError as exc:
        raise Unreadable(f"'{path}' {_reason(exc)}") from exc
    finally:
        os.close(fd)


class Tail:
    """Follows the file behind a path. A rename brings the new file, a truncation or rewrite starts over."""

    def __init__(self, path: str, uid: int) -> None:
        self.path = path
        self._uid = uid
        self._file: tuple[int, int] = (0, 0)  # device, inode
        self._position = 0  # behind the last byte that was looked at
        self._mark = b""  # what stands right before it
        self._rest = b""  # the beginning of a line that has no end yet
        self._in_long_line = False
        self._has_long_end = False  # the last line was one that was passed over

    def read(self) -> tuple[Lines, Transcript]:
        """New lines, and the state of the file after them (`is_complete`: its last line was read, whole).

        Raises Unreadable; the next call looks again.
        """
        fd, status = open_regular(self.path, self._uid)
        try:
            lines = self._read(fd, status)
        except OSError as exc:
            raise Unreadable(f"'{self.path}' {_reason(exc)}") from exc
        finally:
            os.close(fd)
        state = Transcript(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            mtime=status.st_mtime_ns // 1000,
            is_complete=not (self._rest or self._in_long_line or self._has_long_end),
        )
        return lines, state

    def _read(self, fd: int, status: os.stat_result) -> Lines:
        restarted = not self._continues(fd, status)
        if restarted:
            self._start_over(status)
        elif status.st_size == self._position:
            return Lines()
        data = os.pread(fd, status.st_size - self._position, self._position)
        self._position += len(data)
        self._mark = (self._mark + data)[-_MARK:]
        return Lines(tuple(line.decode(errors="replace") for line in self._split(data)), restarted)

    def _continues(self, fd: int, status: os.stat_result) -> bool:
        if self._file != (status.st_dev, status.st_ino) or status.st_size < self._position:
            return False
        if status.st_size - self._position > BURST:
            return False
        return os.pread(fd, len(self._mark), self._position - len(self._mark)) == self._mark

    def _start_over(self, status: os.stat_result) -> None:
        self._file = (status.st_dev, status.st_ino)
        self._position = max(status.st_size - TAIL, 0)
        self._mark = self._rest = b""
        self._in_long_line = self._position > 0  # somewhere within a line: wait for the next
        self._has_long_end = False

    def _split(self, data: bytes) -> list[bytes]:
        if self._in_long_line:
            _, newline, data = data.partition(b"\n")
            if not newline:
                return []
            self._in_long_line, self._has_long_end = False, True
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            self._rest, self._in_long_line = b"", True
        if whole:
            self._has_long_end = len(whole[-1]) > LINE_LIMIT
        return [line for line in whole if len(line) <= LINE_LIMIT and line.strip()]


def _reason(exc: Exception) -> str:
    if not isinstance(exc, OSError):
        return f"is no path: {exc}"
    if exc.errno == errno.ELOOP:
        return "is a symbolic link, or behind a loop of them"
    return f"cannot be read: {exc.strerror}"


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")
