"""Whose turn it is: no caller, and no user with all of its connections, takes the daemon from the others.

Calls over the number in flight are refused. Who calls more often than the daemon can afford has to wait, and
so comes to its number in flight: what is refused then costs next to nothing. Root is a user as any other.
Long calls are refused, too, where those in flight have more bytes than the memory of the daemon is good for.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from musterd.core.errors import LimitReached

from .limits import Limits, Rate

ALL = None  # everybody together
KNOWN = 1024  # callers and users whose rate is remembered until those that owe nothing are forgotten


@dataclass(slots=True)
class _Bucket:
    rate: Rate
    owed: float = 0.0  # calls that time has not paid back yet
    at: float = 0.0

    def take(self, now: float) -> float:
        """Take one call; seconds until it may be served."""
        self.owed = self.owed_at(now) + 1
        self.at = now
        return max(self.owed - self.rate.burst, 0.0) / self.rate.per_second

    def owed_at(self, now: float) -> float:
        return max(self.owed - (now - self.at) * self.rate.per_second, 0.0)


class Fairness:
    """Counts calls from `enter` to `leave`: of connections by their unique name, of users by their uid."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._in_flight: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()  # of long calls in flight
        self._buckets: dict[Hashable, _Bucket] = {}

    def in_flight(self, who: str | int) -> int:
        return self._in_flight[who]

    def enter(self, who: str | int, size: int = 0) -> None:
        """A call with `size` bytes of arguments. Raises LimitReached, and counts nothing then."""
        limit, whose = self._limits.calls_in_flight, "You have"
        if isinstance(who, int):
            limit, whose = self._limits.calls_in_flight_per_user, f"User {who} has"
        if self._in_flight[who] >= limit:
            raise LimitReached(f"{whose} {limit} calls in flight, wait for an answer.")
        accounts = self._accounts(who, size)
        for key, bound in accounts.items():
            if self._bytes[key] + size > bound:
                whose = "All callers have" if key is ALL else whose
                raise LimitReached(f"{whose} long calls of {bound} bytes in flight, wait for an answer.")
        self._in_flight[who] += 1
        self._bytes.update(dict.fromkeys(accounts, size))

    def leave(self, who: str | int, size: int = 0) -> None:
        """As it entered."""
        self._take_off(self._in_flight, who, 1)
        for key in self._accounts(who, size):
            self._take_off(self._bytes, key, size)

    def _accounts(self, who: str | int, size: int) -> Mapping[Hashable, int]:
        """On whom these bytes are counted, and how many each may have."""
        if size <= self._limits.short_call:
            return {}
        own: dict[Hashable, int] = {who: self._limits.bytes_in_flight_per_user}
        # All are counted by their connection: that is known at once.
        return own if isinstance(who, int) else {**own, ALL: self._limits.bytes_in_flight}

    @staticmethod
    def _take_off(counter: Counter[Hashable], who: Hashable, count: int) -> None:
        counter[who] -= count
        if not counter[who]:
            del counter[who]

    def wait(self, who: str | int) -> float:
        """Seconds that a call of theirs has to wait for its turn."""
        now = self._clock()
        if who not in self._buckets and len(self._buckets) >= KNOWN:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.owed_at(now)}
        rate = self._limits.rate_per_user if isinstance(who, int) else self._limits.rate
        return self._buckets.setdefault(who, _Bucket(rate)).take(now)
