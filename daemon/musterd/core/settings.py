"""What the value of a setting may be: TOML in, ours out, and ValueError with what was expected."""

import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Parser = Callable[[object], T]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|sec|min|m|h|hr|d|day|days|w|week|weeks)?")
_SPAN_UNITS = {
    **dict.fromkeys(("s", "sec"), 1.0),
    **dict.fromkeys(("min", "m"), 60.0),
    **dict.fromkeys(("h", "hr"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
    "ms": 1e-3,
    "us": 1e-6,
}


def span(value: object) -> float:
    """Seconds from a number, or from a text as systemd.time(7) takes it: "90s", "1h 30min"."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    if isinstance(value, str) and value.strip():
        parts = list(_SPAN.finditer(value))
        if parts and not _SPAN.sub("", value).strip():
            return sum(float(part[1]) * _SPAN_UNITS[part[2] or "s"] for part in parts)
    raise ValueError(f"{value!r} is not a time span such as 90 or '10min'")


def percent(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:
        return float(value)
    raise ValueError(f"{value!r} is not a number from 0 to 100")


def count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        return value
    raise ValueError(f"{value!r} is not a whole number from 0 to 1000000")


_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def size(value: object) -> int:
    """Bytes from a number, or from a text such as "64M"."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**50:
        return value
    match = re.fullmatch(r"(\d{1,12})([KMG]?)", value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{value!r} is not a size such as 67108864 or '64M'")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is not true or false")


def path(value: object) -> str:
    if isinstance(value, str) and value.startswith("/") and "\0" not in value:
        return value
    raise ValueError(f"{value!r} is not an absolute path")


def words(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError(f"{value!r} is not a list of texts")


def globs(value: object) -> tuple[str, ...]:
    patterns = words(value)
    for pattern in patterns:
        if pattern.partition(":")[0] not in ("title", "cwd", "agent") or ":" not in pattern:
            raise ValueError(f"{pattern!r} does not begin with 'title:', 'cwd:' or 'agent:'")
    return patterns


def one_of(*choices: str) -> Parser[str]:
    def parse(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")

    return parse
