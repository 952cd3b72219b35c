"""Suspends of the machine: in one nobody could do or say anything, so that its time proves no idleness."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suspend:
    """It lasted no longer than this, realtime µs; `ended` is when its end was noticed."""

    began: int
    ended: int


def awake(since: int, now: int, suspends: Iterable[Suspend]) -> int:
    """µs between two moments without those of suspends, no two of which overlap."""
    return now - since - sum(max(min(s.ended, now) - max(s.began, since), 0) for s in suspends)


def elapsed(at: int, now: int, stepped: int, suspends: Iterable[Suspend]) -> int:
    """As `awake`, of a moment that was written down by a clock that has been set at `stepped` (0: never).

    How long before that it was, nobody can tell: it counts from then on.
    """
    return awake(at if stepped <= at <= now else stepped, now, suspends)
