"""One process: an identity that no other process can take over, and what /proc tells of it."""

import errno
import os
import select
from collections.abc import Collection, Mapping
from functools import cache
from types import TracebackType
from typing import NamedTuple, Self

from musterd.agents.base import ProcessFacts
from musterd.core.session import PidRef
from musterd.core.units import USEC_PER_SEC
from musterd.host.clocks import boottime_ns, read_clocks

TICK_USEC = USEC_PER_SEC // os.sysconf("SC_CLK_TCK")

ARGV_LIMIT = 64 * 1024
ENVIRON_LIMIT = 256 * 1024  # bytes; what stands behind is not looked at

_ATTEMPTS = 5


class Stat(NamedTuple):
    """/proc/PID/stat (proc_pid_stat(5)), as far as it matters here."""

    pid: int
    comm: str
    state: str  # one letter
    ppid: int
    tty: int  # device number as the kernel encodes it, 0 for none
    cpu_usec: int  # its own, and that of children it has waited for
    tasks: int
    start_ticks: int
    stack: int  # where its stack starts: random, so another value means that it called execve(2)
    owner: int  # of the file: its effective uid, or root if it is not dumpable

    @property
    def has_ended(self) -> bool:
        return self.state in "ZXx"  # a zombie is only waited for

    @property
    def image(self) -> tuple[int, int, str, int]:
        """The same as long as the process runs the same program under the same name."""
        return self.pid, self.start_ticks, self.comm, self.stack


def parse_stat(data: bytes, owner: int = -1) -> Stat:
    """ValueError if this is no stat line. A name may hold blanks and parentheses: it ends at the last."""
    head, _, tail = data.rpartition(b")")
    pid, _, comm = head.partition(b" (")
    field = tail.split()
    if len(field) < 26:
        raise ValueError(f"{data[:80]!r} is not a stat line")
    return Stat(
        pid=int(pid),
        comm=comm.decode(errors="replace"),
        state=field[0].decode(),
        ppid=int(field[1]),
        tty=int(field[4]),
        cpu_usec=(int(field[11]) + int(field[12]) + int(field[13]) + int(field[14])) * TICK_USEC,
        tasks=int(field[17]),
        start_ticks=int(field[19]),
        stack=int(field[25]),
        owner=owner,
    )


def read_stat(pid: int | str) -> Stat:
    """ProcessLookupError if there is no such process (any more), or /proc hides it (hidepid, proc(5))."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError) as exc:
        raise ProcessLookupError(f"no process {pid}") from exc
    try:
        return parse_stat(os.read(fd, 4096), os.fstat(fd).st_uid)
    finally:
        os.close(fd)


def boot_id() -> str:
    return _adopted[0] if _adopted else _read_boot_id()


def adopt_boot_id(known: str) -> None:
    """Name this boot as musterd does. A container may have an id of its own for those who are not sandboxed:
    systemd-nspawn puts a file over the kernel's, which a fresh mount of /proc does not have.
    """
    _adopted[:] = [known]


_adopted: list[str] = []


@cache
def _read_boot_id() -> str:
    return read_bytes("/proc/sys/kernel/random/boot_id", 64).decode().strip()


def usec_of_ticks(ticks: int) -> int:
    """Realtime µs of a start time, in ticks of CLOCK_BOOTTIME (`btime` of /proc/stat has no fractions)."""
    now, boottime, _ = read_clocks()
    return (now - boottime) // 1000 + ticks * TICK_USEC


@cache
def has_pidfs() -> bool:
    """Whether pidfds have inodes of their own (Linux 6.9); before, all anonymous files share one."""
    pidfd, other = os.pidfd_open(os.getpid()), os.eventfd(0, os.EFD_CLOEXEC)
    try:
        return os.fstat(pidfd).st_dev != os.fstat(other).st_dev
    finally:
        os.close(pidfd)
        os.close(other)


def ticks_now() -> int:
    """What starts from now on has no start time before this one."""
    return boottime_ns() // (1000 * TICK_USEC)


class HeldProcess:
    """A process held by its pidfd (pidfd_open(2)): whatever happens, this never means another one.

    ProcessLookupError if there is no such process, or it has ended.
    """

    def __init__(self, pid: int) -> None:
        if pid <= 0:
            raise ProcessLookupError(f"no process {pid}")
        try:
            self._fd = os.pidfd_open(pid)
        except (OSError, OverflowError) as exc:  # EINVAL: the id of a thread
            if isinstance(exc, OSError) and is_shortage(exc):
                raise
            raise ProcessLookupError(f"no process {pid}") from exc
        try:
            inode = os.fstat(self._fd).st_ino if has_pidfs() else 0
            self.stat = read_stat(pid)
            self.ref = PidRef(pid, self.stat.start_ticks, boot_id(), inode)
        except BaseException:
            self.close()
            raise
        # Only now is it certain that all this was about the process that the pidfd holds.
        if self.has_ended:
            self.close()
            raise ProcessLookupError(f"process {pid} has ended")

    @property
    def has_ended(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def is_shortage(exc: OSError) -> bool:
    """We have run out of something: that says nothing about what was asked."""
    return exc.errno in _SHORTAGES


_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def read_facts(pid: int, environ: Collection[str] = ()) -> ProcessFacts:
    """What /proc shows of a process, all of it of the same process and program.

    ProcessLookupError if it ends, or keeps starting other programs; OSError if we lack fds or memory.
    """
    for _ in range(_ATTEMPTS):
        if facts := _read_facts(pid, environ):
            return facts
    raise ProcessLookupError(f"process {pid} is becoming another program")


def is_starting(facts: ProcessFacts) -> bool:
    """In the middle of execve(2) there is an image, but no arguments yet. (Or the program erased them.)"""
    return bool(facts.executable) and not facts.argv


def _read_facts(pid: int, environ: Collection[str]) -> ProcessFacts | None:
    """None if it called execve(2) meanwhile: then some of it is of the old program, some of the new."""
    before = read_stat(pid)
    facts = ProcessFacts(
        pid=pid,
        ppid=before.ppid,
        uid=read_uid(pid),
        start_ticks=before.start_ticks,
        start_usec=usec_of_ticks(before.start_ticks),
        executable=_read_link(f"/proc/{pid}/exe").removesuffix(" (deleted)"),
        comm=before.comm,
        argv=_read_argv(pid),
        cwd=_read_link(f"/proc/{pid}/cwd"),
        environ=read_environ(pid, environ),
        tty=before.tty,
    )
    after = read_stat(pid)
    return facts if after.image == before.image else None


def read_environ(pid: int, names: Collection[str]) -> Mapping[str, str]:
    """The variables of that name as the program was started with them; empty if it may not be read."""
    if not names:
        return {}
    pairs = (item.partition("=") for item in _read_list(f"/proc/{pid}/environ", ENVIRON_LIMIT))
    return {name: value for name, separator, value in pairs if separator and name in names}


def read_bytes(path: str, limit: int) -> bytes:
    """The first `limit` bytes of a file of the kernel's. OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while limit > 0 and (part := os.read(fd, limit)):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_uid(pid: int) -> int:
    """Its user. A set-uid program belongs to the mightier of both; /proc/PID/status is open to everybody."""
    try:
        text = read_bytes(f"/proc/{pid}/status", 8192)
    except OSError as exc:
        if is_shortage(exc):
            raise
        return -1
    line = next(line for line in text.splitlines() if line.startswith(b"Uid:"))
    return min(map(int, line.split()[1:3]))


def _read_argv(pid: int) -> tuple[str, ...]:
    return _read_list(f"/proc/{pid}/cmdline", ARGV_LIMIT)


def _read_list(path: str, limit: int) -> tuple[str, ...]:
    try:
        data = read_bytes(path, limit)
    except OSError as exc:
        if is_shortage(exc):
            raise
        return ()
    return tuple(data.decode(errors="replace").removesuffix("\0").split("\0")) if data else ()


def _read_link(path: str) -> str:
    try:
        return os.fsencode(os.readlink(path)).decode(errors="replace")
    except OSError as exc:
        if is_shortage(exc):
            raise
        return ""
