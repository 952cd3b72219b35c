"""State files on disk: each is replaced or created as a whole or not at all, and what is odd is set aside.

A crash at any point leaves the old content or the new, and perhaps a temporary file that `clean` removes.
"""

import errno
import fcntl
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass

from musterd.core.errors import Failed

MAX_FILE = 2**20  # bytes; ours are a few KiB
TEMPORARY = ".new-"  # prefix of files under way
END = "# end\n"  # last line of every file: most TOML that is cut off would still parse
ENCODING = ("utf-8", "surrogatepass")  # paths may hold bytes that are no UTF-8

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_HINTS = {
    errno.ENOSPC: "make room on its file system",
    errno.EDQUOT: "make room in the quota of its owner",
    errno.EFBIG: "raise the limit of file sizes (LimitFSIZE=)",
    errno.EROFS: "its file system must be mounted writable",
    errno.EACCES: f"it must belong to user {os.geteuid()}",
    errno.EPERM: f"it must belong to user {os.geteuid()}",
    errno.ELOOP: "a symbolic link stands in its place, move it away",
    errno.ENOTDIR: "something else stands in its place, move it away",
    errno.EIO: "check the disk",
}


def failed(what: str, exc: OSError) -> Failed:
    """An error of the system as a sentence that says what to do."""
    hint = _HINTS.get(exc.errno or 0)
    return Failed(f"Cannot {what}: {exc.strerror}{'; ' + hint if hint else ''}.")


@dataclass(frozen=True, slots=True)
class StateDir:
    """An open directory of state files. Names are single path components; nothing in it follows symlinks."""

    path: str
    fd: int

    @classmethod
    def open(cls, path: str) -> "StateDir":
        """Made with mode 0700 where it is missing. Raises OSError."""
        with suppress(FileExistsError):
            os.makedirs(path, 0o700)
        fd = os.open(path, _DIRECTORY)
        try:
            if stat.S_IMODE(os.fstat(fd).st_mode) != 0o700:
                os.fchmod(fd, 0o700)
        except OSError:
            os.close(fd)
            raise
        return cls(path, fd)

    def close(self) -> None:
        os.close(self.fd)

    @property
    def is_gone(self) -> bool:
        """Something else, or nothing, stands at the path by now."""
        try:
            return not os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(self.fd))
        except FileNotFoundError:
            return True

    def lock(self, name: str) -> int:
        """The fd of a lock that no second process gets; Failed names the process that has it."""
        # Held for reading, so that the file system can still be remounted read-only.
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise Failed(
                f"Another musterd (process {holder or '?'}) uses '{self.path}'; stop it first."
            ) from None
        with suppress(OSError):  # it only serves that message; a full disk must not keep us from starting
            self._sign(name)
        return fd

    def _sign(self, name: str) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        with open(fd, "w") as file:
            file.write(f"{os.getpid()}\n")

    def replace(self, name: str, text: str, *, sync: bool = True) -> None:
        """On disk when this returns, unless it has only to outlive this process."""
        temporary = self._write(text, sync=sync)
        try:
            os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            self._discard(temporary)
            raise
        if sync:
            os.fsync(self.fd)

    def create(self, name: str, text: str) -> None:
        """As replace(), but raises FileExistsError if the name is taken."""
        temporary = self._write(text)
        try:
            os.link(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        finally:
            self._discard(temporary)
        os.fsync(self.fd)

    def remove(self, *names: str, sync: bool = True) -> None:
        """Gone for good when this returns; a missing file is fine. `sync` as of replace()."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)
        if sync:
            os.fsync(self.fd)

    def read(self, name: str) -> str:
        """The text of one of our files. ValueError says what is odd about it; FileNotFoundError."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise ValueError(f"cannot be opened: {exc.strerror}") from exc
        try:
            _check(os.fstat(fd))
            with open(fd, "rb", closefd=False) as file:
                text = file.read(MAX_FILE).decode(*ENCODING)
        except OSError as exc:
            raise ValueError(f"cannot be read: {exc.strerror}") from exc
        finally:
            os.close(fd)
        if not text.endswith(END):
            raise ValueError("it is cut off: its last line is missing")
        return text

    def probe(self) -> None:
        """Raises OSError if a file could not be written now. Asks nothing of the disk: it may sleep."""
        self._discard(self._write("probe\n", sync=False))

    def clean(self) -> None:
        """Remove what a crash left under way."""
        for name in os.listdir(self.fd):
            if name.startswith(TEMPORARY):
                self._discard(name)

    def set_aside(self, name: str, quarantine: "StateDir") -> str:
        """Move it to quarantine under a name that is free there; returns that name. Raises OSError."""
        while _exists(target := f"{name[:200]}.{secrets.token_hex(4)}", quarantine.fd):
            pass
        os.rename(name, target, src_dir_fd=self.fd, dst_dir_fd=quarantine.fd)
        os.fsync(quarantine.fd)
        os.fsync(self.fd)
        return target

    def _write(self, text: str, *, sync: bool = True) -> str:
        """A new file with a name of its own; on disk, unless told otherwise."""
        name = TEMPORARY + secrets.token_hex(8)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write((text + END).encode(*ENCODING))
                file.flush()
                if sync:
                    os.fsync(fd)
        except BaseException:
            self._discard(name)
            raise
        return name

    def _discard(self, name: str) -> None:
        with suppress(OSError):  # the next start cleans
            os.unlink(name, dir_fd=self.fd)


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_uid != os.geteuid():
        raise ValueError(f"it belongs to user {status.st_uid}")
    if status.st_size > MAX_FILE:
        raise ValueError(f"it has {status.st_size} bytes, more than {MAX_FILE}")


def _exists(name: str, dir_fd: int) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return True
    return False
