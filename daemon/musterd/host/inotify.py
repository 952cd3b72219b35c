"""inotify(7) on the loop: what happened to names in directories."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass


class Mask:
    """inotify(7), <sys/inotify.h>. Plain numbers: an enum would cost more than all else in a storm."""

    MODIFY = 0x2
    CLOSE_WRITE = 0x8
    OPEN = 0x20
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    Q_OVERFLOW = 0x4000  # events were lost: look at everything again
    IGNORED = 0x8000  # the watch is gone
    ONLYDIR = 0x01000000
    EXCL_UNLINK = 0x04000000  # nothing of files without a name
    MASK_ADD = 0x20000000  # keep what was asked for under another path of the same directory


# Any of these: the directory is no longer behind its path.
LOST = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED


@dataclass(frozen=True, slots=True)
class Notice:
    watch: int  # -1 with Q_OVERFLOW
    mask: int
    name: str  # in the watched directory; "" is the directory itself


_HEADER = struct.Struct("iIII")
# One read a loop turn: a storm must not keep the loop from its other work. The kernel's queue is bounded.
_READ_SIZE = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


def parse_notices(data: bytes) -> list[Notice]:
    notices, offset = [], 0
    while offset < len(data):
        watch, mask, _cookie, length = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
        notices.append(Notice(watch, mask, name))
        offset += length
    return notices


class Inotify:
    """One inotify instance. `receive` is called in the loop, in the order in which things happened."""

    def __init__(self, receive: Callable[[Notice], None]) -> None:
        self._receive = receive
        self._fd = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def add(self, directory: str, mask: int) -> int:
        """Watch a directory, or add to what is watched of it. OSError (ENOSPC: too many watches)."""
        flags = mask | Mask.ONLYDIR | Mask.EXCL_UNLINK | Mask.MASK_ADD
        return _check(_libc.inotify_add_watch(self._fd, os.fsencode(directory), flags), directory)

    def remove(self, watch: int) -> None:
        """An IGNORED notice follows. Unknown watches are ignored: the kernel may have dropped it already."""
        _libc.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        for notice in parse_notices(data):
            self._receive(notice)


def _check(result: int, what: str) -> int:
    if result >= 0:
        return result
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), what)
