"""The names errors have on the bus, and what may go wrong between us and it.

Our refusals (`musterd.core.errors`) become `org.musterd.Muster1.Error.<ClassName>`; what the D-Bus
specification names itself (an unknown method, ...) keeps its name; everything else is a mistake of
ours: it goes to the log, and the caller learns only that it happened.
"""

import logging
from enum import StrEnum

from musterd.core.errors import Failed, InteractiveAuthorizationRequired, LimitReached, MusterError

logger = logging.getLogger(__name__)

ERROR_PREFIX = "org.musterd.Muster1.Error."
MAX_TEXT = 1024  # characters of one sentence to a caller; texts quote what the caller sent


class StandardError(StrEnum):
    """Names from the D-Bus specification, used where clients already know them."""

    UNKNOWN_OBJECT = "org.freedesktop.DBus.Error.UnknownObject"
    UNKNOWN_INTERFACE = "org.freedesktop.DBus.Error.UnknownInterface"
    UNKNOWN_METHOD = "org.freedesktop.DBus.Error.UnknownMethod"
    UNKNOWN_PROPERTY = "org.freedesktop.DBus.Error.UnknownProperty"
    READ_ONLY = "org.freedesktop.DBus.Error.PropertyReadOnly"
    INTERACTIVE = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"


class Unanswerable(Exception):
    """A call names something that does not exist here, for this caller."""

    def __init__(self, name: StandardError, text: str) -> None:
        super().__init__(text)
        self.name = name


class BusError(Exception):
    """Something between us and another program on the bus went wrong."""


class BusGone(BusError):
    """There is no connection to the bus, or it ended before the work was done."""


class NoBus(BusGone):
    """A connection did not come about; `reason` says why, in words."""

    def __init__(self, bus: str, reason: str, advice: str) -> None:
        super().__init__(f"cannot connect to {bus}: {reason}; {advice}")
        self.reason = reason


class CallTimedOut(BusError):
    """The other side did not answer in time."""


class CallerGone(BusError):
    """Who called has left the bus, or the bus does not say who it is."""


class NameTaken(BusError):
    """Another program owns the name we want."""


class MessageTooLarge(BusError):
    """The message is larger than this kind of message may be; nothing was sent."""


class RemoteError(BusError):
    """The other side answered with an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{text} ({name})")
        self.name = name
        self.text = text


def describe(exc: BaseException) -> tuple[str, str]:
    """The error name and the text a caller gets for `exc`; logs what the caller must not see."""
    match exc:
        case Unanswerable():
            return exc.name, _printable(exc)
        case MessageTooLarge():
            return _name(LimitReached), _printable(exc)
        case InteractiveAuthorizationRequired():
            return StandardError.INTERACTIVE, _printable(exc)
        case MusterError():
            return _name(type(exc)), _printable(exc)
        case BusError() | TimeoutError():
            logger.debug("A call failed with the bus", exc_info=exc)
            return _name(Failed), "The bus or a program we need did not answer, try again."
        case _:
            logger.error("A call failed in a way that should not happen", exc_info=exc)
            return _name(Failed), "Internal error; the log of musterd says more."


def _name(kind: type[MusterError]) -> str:
    return ERROR_PREFIX + kind.__name__


def _printable(exc: BaseException) -> str:
    text = str(exc)[:MAX_TEXT].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.encode(errors="replace").decode()  # lone surrogates (from JSON or file names) have no UTF-8
