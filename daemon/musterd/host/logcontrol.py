"""The log of this process, changed while it runs, in the words of syslog(3)."""

import logging
import sys
from typing import TextIO

from musterd.core.errors import InvalidArgs

from .journal import (
    IDENTIFIER,
    JOURNAL_SOCKET,
    NOTICE,
    JournalHandler,
    is_journal,
    line_handler,
    set_handler,
)

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": NOTICE,
    "warning": logging.WARNING,
    "err": logging.ERROR,
    "crit": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emerg": logging.CRITICAL,
}
TARGETS = ("auto", "journal", "console", "null")


class LogControl:
    """Fulfils bus.log_control_iface.LogControl, for the root logger."""

    identifier = IDENTIFIER

    def __init__(self, stream: TextIO = sys.stderr, path: str = JOURNAL_SOCKET) -> None:
        self._stream = stream
        self._path = path

    @property
    def level(self) -> str:
        current = logging.getLogger().level
        return next(name for name, level in LEVELS.items() if level >= current)

    def set_level(self, level: str) -> None:
        if level not in LEVELS:
            raise InvalidArgs(f"log level '{level[:64]}' is none of {', '.join(LEVELS)}")
        logging.getLogger().setLevel(LEVELS[level])

    @property
    def target(self) -> str:
        handlers = logging.getLogger().handlers
        if any(isinstance(handler, JournalHandler) for handler in handlers):
            return "journal"
        return "null" if any(isinstance(handler, logging.NullHandler) for handler in handlers) else "console"

    def set_target(self, target: str) -> None:
        if target not in TARGETS:
            raise InvalidArgs(f"log target '{target[:64]}' is none of {', '.join(TARGETS)}")
        if target == "auto":
            target = "journal" if is_journal(self._stream) else "console"
        set_handler(self._handler(target))

    def _handler(self, target: str) -> logging.Handler:
        if target == "journal":
            return JournalHandler(self._path, self._stream)
        if target == "null":
            return logging.NullHandler()
        return line_handler(self._stream)
