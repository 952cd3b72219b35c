"""Log records reach the journal with their fields, or stderr as safe lines."""

import io
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from musterd.host import journal
from musterd.host.journal import MESSAGE_IDS, NOTICE, JournalHandler, priority_of, setup_logging, tell
from musterd.ports import Record


def parse(data: bytes) -> dict[str, str]:
    """The fields of one datagram (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/)."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", data)
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "journal"))
        journald.settimeout(5)
        yield journald


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def to_journal(
    server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored_logging: None
) -> Iterator[io.TextIOWrapper]:
    """Logging of a service whose stderr leads to the journal."""
    with open(tmp_path / "stderr", "w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        setup_logging("debug", stream, str(tmp_path / "journal"))
        yield stream


@pytest.mark.usefixtures("to_journal")
def test_an_event_carries_its_fields(server: socket.socket) -> None:
    tell(Record(1, "would-reap", "a1", 1000, "Would reap 'a1'", {"freed": 42, "kept-by": "tier"}))
    fields = parse(server.recv(65536))
    assert fields.pop("CODE_FILE").endswith("journal.py")
    assert fields.pop("CODE_LINE").isdigit()
    assert fields == {
        "MESSAGE": "Would reap 'a1'",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "musterd",
        "LOGGER": "musterd.history",
        "CODE_FUNC": "tell",
        "MESSAGE_ID": MESSAGE_IDS["would-reap"],
        "MUSTERD_KIND": "would-reap",
        "MUSTERD_SESSION": "a1",
        "MUSTERD_UID": "1000",
        "MUSTERD_FREED": "42",
        "MUSTERD_KEPT_BY": "tier",
    }


@pytest.mark.usefixtures("to_journal")
def test_text_of_users_forges_no_fields_and_no_lines(server: socket.socket) -> None:
    tell(Record(1, "ended", "a1", 1000, "bye\nMESSAGE_ID=0\x1b[2J", {"title": "x\nPRIORITY=0", "a=b\nc": 1}))
    fields = parse(server.recv(65536))
    assert fields["MESSAGE"] == "bye\\nMESSAGE_ID=0\\x1b[2J"
    assert fields["PRIORITY"] == "6"
    assert fields["MUSTERD_TITLE"] == "x\nPRIORITY=0"
    assert fields["MUSTERD_A_B_C"] == "1"


@pytest.mark.usefixtures("to_journal")
def test_a_traceback_is_one_record(server: socket.socket) -> None:
    try:
        int("odd")
    except ValueError:
        logging.getLogger("musterd.test").exception("It broke")
    fields = parse(server.recv(65536))
    assert fields["PRIORITY"] == "3"
    assert fields["MESSAGE"].splitlines()[0] == "It broke"
    assert fields["MESSAGE"].splitlines()[-1].startswith("ValueError: invalid literal")


@pytest.mark.usefixtures("to_journal")
def test_a_huge_field_still_fits(server: socket.socket) -> None:
    tell(Record(1, "ended", fields={"text": "ü" * 100_000}))
    assert len(parse(server.recv(2**20))["MUSTERD_TEXT"]) == 2**14


def test_without_a_journal_a_line_goes_to_stderr(
    to_journal: io.TextIOWrapper, server: socket.socket, tmp_path: Path
) -> None:
    os.unlink(tmp_path / "journal")
    logging.getLogger("musterd").warning("still %s", "here")
    to_journal.seek(0)
    assert to_journal.read() == "<4>still here\n"


def test_a_journal_that_does_not_read_never_blocks(server: socket.socket, tmp_path: Path) -> None:
    stream = io.StringIO()
    handler = JournalHandler(str(tmp_path / "journal"), stream)
    record = logging.makeLogRecord({"msg": "again", "levelno": logging.INFO})
    for _ in range(100_000):
        handler.emit(record)
        if stream.getvalue():
            break
    assert stream.getvalue() == "<6>again\n"
    handler.close()


@pytest.mark.usefixtures("restored_logging")
def test_a_terminal_gets_plain_safe_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    stream = io.StringIO()
    setup_logging("info", stream)
    logging.getLogger("musterd").info("agent '%s'\n", "\x1b[31mred")
    logging.getLogger("musterd").debug("too quiet")
    assert stream.getvalue() == "agent '\\x1b[31mred'\\n\n"


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (NOTICE, 5),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
    ],
)
def test_priorities_are_those_of_syslog(level: int, priority: int) -> None:
    assert priority_of(level) == priority


def test_message_ids_are_distinct_and_well_formed() -> None:
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(len(bytes.fromhex(value)) == 16 for value in MESSAGE_IDS.values())
    assert journal.LEVELS.keys() <= MESSAGE_IDS.keys()
