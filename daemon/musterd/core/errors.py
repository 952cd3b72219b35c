"""Refusals: what a caller asked, what is wrong, in one sentence they can act on.

The name of each class is the last part of its D-Bus error name.
"""


class MusterError(Exception):
    """A request was refused; the text says why."""


class NoSuchSession(MusterError):
    """Nothing on the roll answers to that id, pid or agent session."""


class NoSuchClaim(MusterError):
    """No claim has that id."""


class AlreadyRegistered(MusterError):
    """Another live session holds that identity."""


class InvalidArgs(MusterError):
    """One or more arguments are wrong; the text names all of them."""

    @classmethod
    def of(cls, mistakes: list[str]) -> "InvalidArgs":
        return cls("; ".join(mistakes))


class AccessDenied(MusterError):
    """The object belongs to another user."""


class NotAuthorized(MusterError):
    """The operation takes an operator, and the caller is none."""


class InteractiveAuthorizationRequired(NotAuthorized):
    """A password would allow it, and the caller lets nobody be asked for one. D-Bus has a name for that."""


class LimitReached(MusterError):
    """A quota is used up."""


class Busy(MusterError):
    """A reap or resume of this session is under way."""


class NotResumable(MusterError):
    """There is no way to bring this session back."""


class Failed(MusterError):
    """It was tried, and did not work."""


def reason(exc: Exception) -> str:
    """What went wrong, in words: what the kernel says, without its number and its path."""
    told = exc.strerror if isinstance(exc, OSError) else ""
    return told or str(exc) or type(exc).__name__
