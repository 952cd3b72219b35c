"""Reading foreign JSON: what has the wrong type is as good as missing, and what is missing is empty."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from musterd.core.event import EventKind

from .base import Json

LONGEST_TITLE = 200  # characters


def word(record: Json, key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def table(record: Json, key: str) -> Json:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def tables(record: Json, key: str) -> list[Json]:
    value = record.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def integer(record: Json, key: str) -> int:
    """JSON has one kind of number; what is out of any range is none."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if abs(value) < _HUGE else 0


_HUGE = 1 << 60


def title_of(text: str) -> str:
    """One line of it."""
    return " ".join(text.split())[:LONGEST_TITLE]


def ordered(kind: EventKind, at: int) -> int:
    """A stamp in whole milliseconds as one that can be compared.

    Start and end of a turn count at the end of theirs, so that an end is later than the signs of work before
    it. Where a turn starts in the millisecond in which another ended, they tie: then work wins.
    """
    return at + 999 if at and kind in _TURNS else at


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TURNS = (EventKind.TURN_START, EventKind.TURN_END, EventKind.SETTLED, EventKind.STOP)


def usec(text: str) -> int:
    """Realtime µs of an ISO 8601 time stamp; 0 if it is none."""
    try:
        moment = datetime.fromisoformat(text)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return 0
    return since // timedelta(microseconds=1)


def parse(lines: Iterable[str]) -> tuple[list[Json], bool]:
    """The objects in these lines, and whether the last line was one."""
    found: list[Json] = []
    is_complete = True
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        is_complete = isinstance(record, dict)
        if isinstance(record, dict):
            found.append(record)
    return found, is_complete


def package_version(text: str, packages: Collection[str]) -> str:
    """The version in a package.json. ValueError if it is not about one of these packages."""
    description = json.loads(text)
    if not isinstance(description, dict) or description.get("name") not in packages:
        raise ValueError(f"{text[:60]!r} does not describe any of {', '.join(packages)}")
    return word(description, "version")
