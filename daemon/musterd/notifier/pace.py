"""How many notifications are too many."""

from collections import deque

LIMIT = 6  # notifications
WINDOW = 60.0  # seconds


class Pace:
    """At most `limit` in any `window` seconds. Time is an argument: seconds of any clock that only grows."""

    def __init__(self, limit: int = LIMIT, window: float = WINDOW) -> None:
        self._window = window
        self._shown: deque[float] = deque(maxlen=limit)

    def admits(self, now: float) -> bool:
        """Whether one more is fine now; if so, it counts."""
        assert self._shown.maxlen
        if len(self._shown) == self._shown.maxlen and now - self._shown[0] < self._window:
            return False
        self._shown.append(now)
        return True
