import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.daemon import DAEMON
from helpers.programs import PATIENCE, Programs, until
from musterd.core.units import USEC_PER_SEC
from musterd.host.process import (
    HeldProcess,
    boot_id,
    has_pidfs,
    parse_stat,
    read_environ,
    read_facts,
    read_stat,
)
from musterd.host.table import Table


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as programs:
        yield programs


def test_the_name_of_a_program_cannot_forge_a_stat_line() -> None:
    tail = b" ".join(
        [b"S", b"7", *[b"0"] * 9, b"3", b"4", b"1", b"2", b"20", b"0", b"5", b"0", b"99", *[b"1"] * 32]
    )
    stat = parse_stat(b"12 (a) S 1 (b) " + tail)
    assert (stat.pid, stat.comm, stat.ppid, stat.start_ticks, stat.tasks) == (12, "a) S 1 (b", 7, 99, 5)
    assert stat.cpu_usec == 10 * USEC_PER_SEC // os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("data", [b"", b"12 (a)", b"12 (a) S 1 2", b"x (a) " + b"1 " * 60])
def test_a_line_that_is_no_stat_line_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one does not matter
        parse_stat(data)


def test_a_process_is_seen_as_it_was_started(programs: Programs) -> None:
    before = time.time_ns() // 1000
    pid = programs.start("sleep", "60", environ={"WANTED": "a=b", "SECRET": "x"})
    until(lambda: read_facts(pid).argv, "started")
    facts = read_facts(pid, {"WANTED"})
    assert (facts.pid, facts.ppid, facts.uid) == (pid, os.getpid(), os.getuid())
    assert facts.argv == ("sleep", "60")
    assert facts.environ == {"WANTED": "a=b"}
    assert (facts.comm, facts.cwd) == ("sleep", os.getcwd())
    # Ticks are hundredths of a second, rounded down.
    assert before - 20_000 <= facts.start_usec <= time.time_ns() // 1000


def test_a_deleted_program_still_has_its_path(programs: Programs, tmp_path: Path) -> None:
    copy = Path(shutil.copy("/bin/sleep", tmp_path / "copy"))
    pid = programs.start(copy, "60")
    until(lambda: read_facts(pid).executable == str(copy), "started")
    copy.unlink()
    assert read_facts(pid).executable == str(copy)


def test_arguments_that_are_no_utf_8_are_read(programs: Programs) -> None:
    pid = programs.start("sh", "-c", "read line", os.fsdecode(b"\xff\xfe"))
    assert until(lambda: read_facts(pid).argv, "started")[3] == "\ufffd\ufffd"


def test_no_variable_is_read_that_nobody_asked_for(programs: Programs) -> None:
    assert read_environ(programs.start("sleep", "60", environ={"SECRET": "x"}), ()) == {}


def test_a_pid_that_ended_between_two_calls_is_gone(programs: Programs) -> None:
    pid = programs.start("sleep", "60")
    read_facts(pid)
    programs.end(pid)
    for look in (read_stat, read_facts, HeldProcess):
        with pytest.raises(ProcessLookupError):
            look(pid)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_what_is_no_pid_is_no_process(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        HeldProcess(pid)


def test_a_process_that_proc_hides_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with hidepid=1: processes of others are listed, and nothing of them can be opened."""
    open_file = os.open

    def refuse(path: str, flags: int) -> int:
        if path == "/proc/1/stat":
            raise PermissionError(1, "Operation not permitted")
        return open_file(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ProcessLookupError):
        read_stat(1)
    assert os.getpid() in (rows := Table.read().rows)
    assert 1 not in rows


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert read_stat(child.pid).has_ended
    with pytest.raises(ProcessLookupError):
        HeldProcess(child.pid)
    child.wait()


def test_an_identity_holds_across_looks_and_differs_between_processes(programs: Programs) -> None:
    one, other = programs.start("sleep", "60"), programs.start("sleep", "60")
    with HeldProcess(one) as first, HeldProcess(one) as again, HeldProcess(other) as second:
        assert first.ref == again.ref
        assert first.ref.boot_id == boot_id()
        assert not first.ref.is_same(second.ref)
        assert not first.ref.is_same(replace(first.ref, start_ticks=first.ref.start_ticks - 1))
        assert bool(first.ref.inode) == has_pidfs()


def test_two_processes_never_share_a_pidfd_inode(programs: Programs) -> None:
    inodes = set()
    for _ in range(20):
        with HeldProcess(programs.start("sleep", "60")) as held:
            inodes.add(held.ref.inode)
    assert len(inodes) == (20 if has_pidfs() else 1)


def test_a_held_process_stays_the_one_that_ended(programs: Programs) -> None:
    pid = programs.start("sleep", "60")
    with HeldProcess(pid) as held:
        assert not held.has_ended
        os.kill(pid, signal.SIGKILL)
        assert select.select([held], [], [], PATIENCE)[0]
        assert held.has_ended


RECYCLE = """
import os, sys
sys.path[:0] = {path!r}
from musterd.host.process import HeldProcess, read_stat

def child():
    pid = os.fork()
    if pid == 0:
        os.execvp("sleep", ["sleep", "60"])
    return pid

def end(pid):
    os.kill(pid, 9)
    os.waitpid(pid, 0)

first = child()
held = HeldProcess(first)
end(first)
with open("/proc/sys/kernel/ns_last_pid", "w") as last:
    last.write(str(first - 1))
second = child()
assert second == first, (first, second)
with HeldProcess(second) as new:
    print(held.has_ended, new.has_ended, held.ref.is_same(new.ref), held.ref == new.ref)
end(second)
"""


def test_a_recycled_pid_is_another_process() -> None:
    script = RECYCLE.format(path=[path for path in sys.path if path])
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*unshare, sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("True False False False\n", 0), done.stderr


def test_facts_of_a_program_that_starts_others_are_never_mixed(programs: Programs) -> None:
    """One process, two programs in turn: arguments and image always belong together."""
    script = 'if [ $0 -lt 300 ]; then exec sh -c "$1" $(($0 + 1)) "$1"; else exec cat; fi'
    pid = programs.start("sh", "-c", f"read line; {script}", "0", script)
    until(lambda: read_facts(pid).argv, "started")
    programs.write_line(pid, "go")
    seen = set()
    while (facts := read_facts(pid)).comm != "cat" or not facts.argv:
        seen.add((os.path.basename(facts.executable), *facts.argv[:1]))
    shell = os.path.basename(os.path.realpath("/bin/sh"))
    assert seen <= {(shell, "sh"), (shell,), ("cat",)}


def test_boot_is_called_what_musterd_calls_it() -> None:
    program = (
        "from musterd.host.process import *; import os;"
        "adopt_boot_id('b'); print(HeldProcess(os.getpid()).ref.boot_id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(DAEMON)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "b\n"
