"""How musterctl fails: one sentence, a hint where there is one, and an exit status."""

import sys
from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    MISUSED = 2
    NO_DAEMON = 3


class CtlError(Exception):
    """What the user reads on stderr. `name` is the last part of the bus error's name, if there was one."""

    def __init__(self, text: str, hint: str = "", status: Exit = Exit.FAILED, name: str = "") -> None:
        super().__init__(text)
        self.hint = hint
        self.status = status
        self.name = name


class Misused(CtlError):
    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text, hint, Exit.MISUSED)


class NoDaemon(CtlError):
    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text, hint, Exit.NO_DAEMON)


def complain(exc: CtlError) -> Exit:
    from .text import printable

    print(f"musterctl: {printable(str(exc))}", file=sys.stderr)
    if exc.hint:
        print(f"Hint: {printable(exc.hint)}", file=sys.stderr)
    return exc.status


PASSWORD_REQUIRED = "InteractiveAuthorizationRequired"

HINTS = {
    "NoSuchSession": "'musterctl list --all' shows the sessions there are.",
    "NoSuchClaim": "'musterctl claim list' shows the claims there are.",
    "AccessDenied": "Run it as that user, or as root.",
    "NotAuthorized": "This takes an operator: root, or whom polkit lets.",
    PASSWORD_REQUIRED: "Run it as root; an order may also ask for a password, in a terminal.",
    "Busy": "Try again when that is over; 'musterctl events -f' tells.",
    "UnknownMethod": "The daemon is of another version than musterctl; restart it.",
    "UnknownInterface": "The daemon is of another version than musterctl; restart it.",
}
_NOBODY = ("ServiceUnknown", "NameHasNoOwner", "Spawn", "Disconnected", "NoReply")


def translate(name: str, text: str, start: str) -> CtlError:
    """A bus error as the user should read it; `start` says how a daemon that is not there is started."""
    last = name.rpartition(".Error.")[2]
    if last.startswith(_NOBODY):
        said = "musterd is not running there." if last != "NoReply" else "musterd ended meanwhile."
        return NoDaemon(said, start)
    if name == "org.freedesktop.DBus.Error.AccessDenied":
        return CtlError(
            "The bus does not let you talk to musterd.", "See its policy, org.musterd.Muster1.conf."
        )
    return CtlError(text, HINTS.get(last, ""), name=last)
