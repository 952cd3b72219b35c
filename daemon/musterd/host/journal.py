"""Log records to the journal's native socket, with fields; or as lines on stderr.

Format: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. A `ports.Record` gives a log record its fields (`tell`,
or extra={"event": ...}); its kind brings the MESSAGE_ID that the message catalog explains.
"""

import logging
import os
import re
import socket
import struct
import sys
from typing import TextIO

from musterd.ports import Record

from .lines import one_line

JOURNAL_SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "musterd"
MAX_VALUE = 16 * 2**10  # characters; a datagram with all fields stays below the send buffer

NOTICE = 25  # normal, but significant (syslog(3)); between INFO and WARNING
logging.addLevelName(NOTICE, "NOTICE")

# By kind of event. Never changed: the catalog, and people's filters, go by them.
MESSAGE_IDS = {
    "registered": "40b18a9b05974e1d98b7fa3e2f619207",
    "ended": "37fd941acb964a16bd2ffc589f24d84c",
    "reaped": "fbb7ba4c9af9484b9c842bca6273452e",
    "would-reap": "80ceda8a6c3d4b3283edbcca19c47f73",
    "end-failed": "d2d4c0f0a8e54d5c9f0b2f7d6a1c3e57",
    "resumed": "91376ecb7cb14aeea136e1664d9ec552",
    "terminated": "3ede1b30f63b464d86da65fe1a3a19ba",
    "verdict": "3b7c1f6e2d9a4c58a1e04d7f95b6c823",
    "prepare": "603f61b916b844af968da854b263a8dd",
    "cancelled": "df1a6cfc7eca4cc9b634ab69dd89c101",
    "leftover": "df5d1fdb10634931a4e93747ddb69995",
    "reclaimed": "2a8dc354d8c7480a982a88d5874d40c2",
    "leftovers-ended": "e33ab34b99954ad8ab88fb283bd5f8c8",
    "mode": "611d60a39fcb48a993fd188d1ca7d505",
    "pressure": "82f47d16e1e248a9b6cf7981d1dec4f0",
    "quarantined": "74d71d765e9a4f1191424ba5d77b07a5",
    "auto-disabled": "29d6258f571542368d178ba4cd635f18",
    "degraded": "85978775558848e0a96a13a86ecd1dba",
    "held": "62299e923962496e9362abb8f5484cbb",
    "would-hold": "91d7723e58594ffbab499954f14707c2",
    "let-go": "39d0e63e88cb49cd99736a4ae3bc322d",
    "gate-mode": "dea6e0fabe494e50a770ebb511e63696",
    "kill-switch": "7bf323bf96f34b75a4037244e9436041",
}
LEVELS = {
    "verdict": logging.DEBUG,  # many, and in the history; 'systemctl service-log-level' shows them
    "reaped": NOTICE,
    "terminated": NOTICE,
    "leftovers-ended": NOTICE,
    "mode": NOTICE,
    "let-go": NOTICE,
    "gate-mode": NOTICE,
    "kill-switch": NOTICE,
    "end-failed": logging.ERROR,
    "quarantined": logging.WARNING,
    "auto-disabled": logging.ERROR,
    "degraded": logging.WARNING,
}

history = logging.getLogger("musterd.history")


def tell(record: Record) -> None:
    """An event of the history as a structured record; kinds that are not in the catalog at debug level."""
    level = LEVELS.get(record.kind, logging.INFO if record.kind in MESSAGE_IDS else logging.DEBUG)
    history.log(level, "%s", record.text or record.kind, extra={"event": record})


def setup_logging(level: int | str, stream: TextIO = sys.stderr, path: str = JOURNAL_SOCKET) -> None:
    """The one handler of the root logger: to the journal if `stream` leads there, else to `stream`."""
    set_handler(JournalHandler(path, stream) if is_journal(stream) else line_handler(stream))
    logging.getLogger().setLevel(level.upper() if isinstance(level, str) else level)


def line_handler(stream: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    return handler


def set_handler(handler: logging.Handler) -> None:
    """The one of the root logger, from now on."""
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)


def is_journal(stream: TextIO) -> bool:
    """Whether $JOURNAL_STREAM names the socket behind the stream (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class LineFormatter(logging.Formatter):
    """Lines of safe text; with `priority`, each begins with its <N> (sd-daemon(3))."""

    def __init__(self, *, priority: bool = False) -> None:
        super().__init__()
        self._has_priority = priority

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{priority_of(record.levelno)}>" if self._has_priority else ""
        return "\n".join(prefix + line for line in _lines(self, record))


class JournalHandler(logging.Handler):
    """Datagrams that never block: where the journal is away or does not keep up, a line goes to `stream`."""

    def __init__(self, path: str, stream: TextIO) -> None:
        super().__init__()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._fallback = logging.StreamHandler(stream)
        self._fallback.setFormatter(LineFormatter(priority=True))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._socket.sendto(datagram(record), self._path)
        except OSError:
            self._fallback.emit(record)
        except Exception:  # noqa: BLE001  # logging must never break what is logged
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def datagram(record: logging.LogRecord) -> bytes:
    fields: dict[str, str | int] = {
        "MESSAGE": "\n".join(_lines(_FORMATTER, record)),
        "PRIORITY": priority_of(record.levelno),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName or "",
    }
    event = getattr(record, "event", None)
    if isinstance(event, Record):
        fields |= _event_fields(event)
    return b"".join(_field(name, str(value)) for name, value in fields.items())


def priority_of(level: int) -> int:
    """The syslog priority of a level: 7 debug, 6 info, 5 notice, 4 warning, 3 error, 2 critical."""
    steps = (logging.INFO, NOTICE, logging.WARNING, logging.ERROR, logging.CRITICAL)
    return 7 - sum(level >= step for step in steps)


_FORMATTER = logging.Formatter()


def _lines(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    lines = [one_line(record.getMessage())]
    if record.exc_info:
        lines += map(one_line, formatter.formatException(record.exc_info).splitlines())
    return lines


def _event_fields(event: Record) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"MUSTERD_KIND": event.kind}
    if event.kind in MESSAGE_IDS:
        fields["MESSAGE_ID"] = MESSAGE_IDS[event.kind]
    if event.session:
        fields["MUSTERD_SESSION"] = event.session
    if event.uid >= 0:
        fields["MUSTERD_UID"] = event.uid
    for name, value in event.fields.items():
        fields["MUSTERD_" + re.sub(r"[^A-Z0-9]", "_", name.upper())[:56]] = value
    return fields


def _field(name: str, value: str) -> bytes:
    """Text with a line break goes with its length, or it could forge fields."""
    data = value[:MAX_VALUE].encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)
