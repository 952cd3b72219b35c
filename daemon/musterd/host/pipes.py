"""Named pipes that inhibitors hang on: who has the write end keeps it, whether or not the daemon lives.

Nothing of them is fsynced: what the machine does not live through, no holder does.
"""

import os
from collections.abc import Collection
from contextlib import suppress

from musterd.ports import Pipe

from .statedir import StateDir

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def make(directory: StateDir, name: str) -> Pipe:
    """Both ends of a new one. Raises OSError, and leaves nothing then."""
    os.mkfifo(name, 0o600, dir_fd=directory.fd)
    try:
        read = os.open(name, _READ, dir_fd=directory.fd)
        try:
            return Pipe(read, os.open(name, _WRITE, dir_fd=directory.fd))
        except OSError:
            os.close(read)
            raise
    except OSError:
        remove(directory, name)
        raise


def find(directory: StateDir, name: str) -> int | None:
    """The read end, if somebody still has the other one and has not written into it."""
    try:
        read = os.open(name, _READ, dir_fd=directory.fd)
    except OSError:
        return None
    try:
        os.read(read, 1)
    except BlockingIOError:
        return read
    except OSError:
        pass  # no pipe at all
    os.close(read)
    return None


def remove(directory: StateDir, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory.fd)


def clean(directory: StateDir, but: Collection[str]) -> None:
    """Remove those that nobody holds any more, as far as that can be done."""
    for name in os.listdir(directory.fd):
        if name not in but:
            with suppress(OSError):
                remove(directory, name)
