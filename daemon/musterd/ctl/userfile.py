"""Settings files of the user: read with all care, and replaced as a whole or not at all.

There is no backup: a file is replaced by rename(2), and what we put into it comes out again to the byte.
"""

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass

from .failure import CtlError

MAX_SIZE = 1024 * 1024  # bytes; such files have some kilobytes


@dataclass(frozen=True, slots=True)
class UserFile:
    """As it was when it was read; `data` is None where there was none."""

    path: str  # as it is named
    target: str  # behind all links
    data: bytes | None
    status: os.stat_result | None = None

    @property
    def text(self) -> str:
        """CtlError if it is no text."""
        try:
            return (self.data or b"").decode()
        except UnicodeDecodeError as exc:
            raise CtlError(f"{self.path} is not UTF-8.", "Save it as UTF-8, then try again.") from exc


def read(path: str) -> UserFile:
    """CtlError if it is not a plain file of ours that can be replaced safely."""
    target = os.path.realpath(path)
    try:
        fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return UserFile(path, target, None)
    except OSError as exc:
        raise CtlError(
            f"{path} cannot be read: {exc.strerror}.", "Make it a file that you can read."
        ) from exc
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise CtlError(f"{path} is no plain file.", "Move it away, then try again.")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as exc:
        raise CtlError(f"{path} cannot be read: {exc.strerror}.", "See what is wrong with it.") from exc
    finally:
        os.close(fd)
    if len(data) > MAX_SIZE:
        raise CtlError(f"{path} has more than {MAX_SIZE} bytes.", "Settings never have: see what is in it.")
    return UserFile(path, target, data, status)


def write(file: UserFile, data: bytes | None) -> None:
    """Put `data` in its place, or nothing for None. The directories that it needs are made.

    CtlError, and nothing is touched, if it may not be written, or is not as it was read.
    """
    _check(file)
    directory = os.path.dirname(file.target)
    try:
        if data is None:
            _compare(file)
            os.unlink(file.target)
        else:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            _replace(file, data, directory)
        _sync(directory)
    except OSError as exc:
        raise CtlError(f"{file.path} cannot be written: {exc.strerror}.", f"Look at {directory}.") from exc


def _check(file: UserFile) -> None:
    """What rename(2) would let us do, but its owner did not mean."""
    if (status := file.status) is not None:
        if status.st_uid != os.geteuid():
            raise CtlError(f"{file.path} belongs to another user.", "Run it as that user.")
        if not status.st_mode & stat.S_IWUSR:
            raise CtlError(f"{file.path} is read-only.", f"If you mean it: chmod u+w {file.target}")
        if status.st_nlink > 1:
            raise CtlError(f"{file.path} is a hard link, which would break.", "Make it a symbolic link.")
    with suppress(OSError):
        above = os.stat(os.path.dirname(file.target))
        if above.st_uid != os.geteuid():
            raise CtlError(f"{file.path} is in a directory of another user.", "Run it as that user.")
        if not above.st_mode & stat.S_IWUSR:
            directory = os.path.dirname(file.target)
            raise CtlError(
                f"{file.path} is in a read-only directory.", f"If you mean it: chmod u+w {directory}"
            )


def _replace(file: UserFile, data: bytes, directory: str) -> None:
    beside = os.path.join(directory, f".{os.path.basename(file.target)}.musterd-{secrets.token_hex(4)}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as new:
            new.write(data)
            new.flush()
            if file.status is not None:
                _copy_attributes(file, fd)
            os.fsync(fd)
        _compare(file)
        os.rename(beside, file.target)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _copy_attributes(file: UserFile, fd: int) -> None:
    assert file.status is not None
    with suppress(OSError):
        os.fchown(fd, -1, file.status.st_gid)
    os.fchmod(fd, stat.S_IMODE(file.status.st_mode))
    with suppress(OSError):  # ACLs, labels
        for name in os.listxattr(file.target):
            os.setxattr(fd, name, os.getxattr(file.target, name))


def _compare(file: UserFile) -> None:
    """Programs rewrite their settings at any time; only the moment between this and the rename is left."""
    if os.path.realpath(file.path) != file.target or read(file.target).data != file.data:
        raise CtlError(f"{file.path} was changed just now.", "Try again.")


def _sync(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
