"""Following a file that another program writes, and everything that can lie in its place."""

import os
import socket
from pathlib import Path

import pytest

from musterd.host.transcript import BURST, LINE_LIMIT, TAIL, Lines, Tail, Unreadable, read_text

UID = os.getuid()


def follow(path: Path) -> Tail:
    return Tail(str(path), UID)


def new(tail: Tail) -> tuple[str, ...]:
    return tail.read()[0].lines


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.jsonl"


def test_new_lines_are_read_once(path: Path) -> None:
    path.write_text("a\nb\n")
    tail = follow(path)
    assert tail.read()[0] == Lines(("a", "b"), restarted=True)
    assert tail.read()[0] == Lines()
    append(path, "c\n")
    assert tail.read()[0] == Lines(("c",))


def test_half_a_line_waits_for_its_end(path: Path) -> None:
    path.write_text("a\nhal")
    tail = follow(path)
    lines, state = tail.read()
    assert (lines.lines, state.is_complete) == (("a",), False)
    append(path, "f\n")
    lines, state = tail.read()
    assert (lines.lines, state.is_complete) == (("half",), True)


def test_the_state_is_that_of_the_file(path: Path) -> None:
    path.write_text("a\n")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    state, status = follow(path).read()[1], path.stat()
    assert (state.device, state.inode, state.size) == (status.st_dev, status.st_ino, 2)
    assert (state.mtime, state.is_complete) == (1_700_000_000_123_456, True)


def test_a_truncated_file_starts_over(path: Path) -> None:
    path.write_text("a\nb\nc\n")
    tail = follow(path)
    tail.read()
    path.write_text("d\n")
    assert tail.read()[0] == Lines(("d",), restarted=True)


def test_a_file_rewritten_in_place_to_the_same_size_or_more_starts_over(path: Path) -> None:
    path.write_text("a\nb\nc\n")
    tail = follow(path)
    tail.read()
    path.write_text("d\ne\nf\ng\n")
    assert tail.read()[0] == Lines(("d", "e", "f", "g"), restarted=True)


def test_a_rotated_file_is_left_for_the_new_one(path: Path) -> None:
    path.write_text("a\n")
    tail = follow(path)
    tail.read()
    path.rename(path.with_suffix(".1"))
    append(path.with_suffix(".1"), "late\n")
    path.write_text("a\nb\n")
    assert tail.read()[0] == Lines(("a", "b"), restarted=True)


def test_a_file_that_comes_back_after_it_was_gone_is_read(path: Path) -> None:
    path.write_text("a\n")
    tail = follow(path)
    tail.read()
    path.unlink()
    with pytest.raises(Unreadable, match="No such file"):
        tail.read()
    path.write_text("b\n")
    assert new(tail) == ("b",)


def test_only_the_tail_of_a_large_file_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    before = read_bytes_so_far()
    lines, state = follow(path).read()
    assert lines.lines == ("last",)
    assert (state.size, state.is_complete) == (2**30 + 6, True)
    assert read_bytes_so_far() - before < TAIL + 64 * 1024


def read_bytes_so_far() -> int:
    """What this process asked the kernel to read (proc_pid_io(5))."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_gigabyte_without_a_line_says_nothing_and_is_incomplete(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)
    tail = follow(path)
    for _ in range(2):
        lines, state = tail.read()
        assert (lines.lines, state.is_complete) == ((), False)


def test_the_line_in_which_the_tail_begins_is_dropped(path: Path) -> None:
    path.write_text("x" * 10 + "\n" + "y" * TAIL + "\nz\n")
    assert new(follow(path)) == ("z",)


def test_a_file_that_ends_with_too_long_a_line_is_incomplete_until_the_next(path: Path) -> None:
    path.write_text("a\n")
    tail = follow(path)
    tail.read()
    append(path, "x" * (LINE_LIMIT + 1) + "\n")
    for _ in range(2):
        lines, state = tail.read()
        assert (lines.lines, state.is_complete) == ((), False)
    append(path, "b\n")
    lines, state = tail.read()
    assert (lines.lines, state.is_complete) == (("b",), True)


def test_too_long_a_line_that_comes_in_parts_is_not_kept_in_memory(path: Path) -> None:
    path.write_text("a\n")
    tail = follow(path)
    tail.read()
    for _ in range(8):
        append(path, b"x" * (LINE_LIMIT // 2))
        assert tail.read()[1].is_complete is False
        assert len(tail._rest) <= LINE_LIMIT
    append(path, "\nb\n")
    assert new(tail) == ("b",)


def test_after_a_burst_only_the_tail_is_read(path: Path) -> None:
    path.write_text("a\n")
    tail = follow(path)
    tail.read()
    append(path, b"line\n" * (BURST // 5 + 100))
    lines = tail.read()[0]
    assert lines.restarted
    assert len(lines.lines) <= TAIL // 5


def test_what_is_no_utf_8_is_replaced(path: Path) -> None:
    path.write_bytes(b"a\xff\xfeb\n\x80\n")
    assert new(follow(path)) == ("a\ufffd\ufffdb", "\ufffd")


def test_a_character_cut_by_two_writes_is_whole(path: Path) -> None:
    path.write_bytes("ä".encode()[:1])
    tail = follow(path)
    tail.read()
    append(path, "ä".encode()[1:] + b"\n")
    assert new(tail) == ("ä",)


def test_empty_lines_and_an_empty_file_are_nothing(path: Path) -> None:
    path.touch()
    tail = follow(path)
    assert tail.read()[1].is_complete
    append(path, "\n\n  \na\n")
    assert new(tail) == ("a",)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("directory", "is a directory"),
        ("pipe", "is a pipe"),
        ("socket", "cannot be read"),
        ("link", "symbolic link"),
        ("nothing", "No such file"),
        ("/dev/zero", "is a device"),
        ("nul\0byte", "is no path"),
        ("x" * 300, "name too long"),
    ],
)
def test_what_is_no_file_is_not_read_and_costs_no_time(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "link").symlink_to("secret")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(Unreadable, match=reason):
            Tail(os.path.join(tmp_path, place), UID).read()


def test_another_users_file_is_not_read_though_it_could_be(path: Path) -> None:
    path.write_text("a\n")
    with pytest.raises(Unreadable, match=f"belongs to user {UID}"):
        Tail(str(path), UID + 1).read()


def test_a_small_file_is_read_to_its_limit(path: Path) -> None:
    path.write_text("abcdef")
    assert read_text(str(path), UID, 3) == "abc"
    assert read_text(str(path), None, 100) == "abcdef"
