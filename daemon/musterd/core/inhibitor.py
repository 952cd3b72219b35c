"""Inhibitors: somebody's wish that something should not happen to a session, as long as they hold an fd."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from musterd.core.errors import InvalidArgs
from musterd.core.session import Session


class What(StrEnum):
    REAP = "reap"
    STOP = "stop"


class Mode(StrEnum):
    BLOCK = "block"
    DELAY = "delay"  # up to inhibit-delay-max


@dataclass(frozen=True, slots=True)
class Inhibitor:
    number: int  # in the order they were taken
    what: frozenset[What]
    who: str
    why: str
    mode: Mode
    uid: int
    pid: int
    session: str  # "" covers all sessions of the uid
    is_operators: bool = False  # an operator's: the user of an agent alone cannot let it off

    def covers(self, session: Session) -> bool:
        return self.session == session.id or (not self.session and self.uid == session.uid)


def parse_what(text: str) -> frozenset[What]:
    """`reap`, `stop` or both with a colon, as systemd-inhibit writes it."""
    try:
        return frozenset(What(word) for word in text.split(":"))
    except ValueError:
        raise InvalidArgs(f"what '{text}' is not 'reap', 'stop' or 'reap:stop'") from None


def parse_mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise InvalidArgs(f"mode '{text}' is not 'block' or 'delay'") from None


def delaying(inhibitors: Iterable[Inhibitor], what: What, session: Session) -> list[Inhibitor]:
    return [i for i in inhibitors if i.mode is Mode.DELAY and what in i.what and i.covers(session)]


def blocking(inhibitors: Iterable[Inhibitor], what: What, session: Session) -> list[Inhibitor]:
    return [i for i in inhibitors if i.mode is Mode.BLOCK and what in i.what and i.covers(session)]


def letting_stop(inhibitors: Iterable[Inhibitor], session: Session) -> list[Inhibitor]:
    """Whoever wants to wait a little with holding a turn lets it end, too: it cannot be held afterwards."""
    return [i for i in inhibitors if i.is_operators and What.STOP in i.what and i.covers(session)]
