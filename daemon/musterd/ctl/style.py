"""Colour, and where it is wanted: on a terminal, unless NO_COLOR is set (no-color.org)."""

import os
import sys
from enum import StrEnum


class Style(StrEnum):
    BOLD = "1"
    DIM = "2"
    RED = "1;31"
    GREEN = "32"
    YELLOW = "33"
    BLUE = "34"
    NONE = ""


STATES = {
    "busy": Style.GREEN,
    "waiting": Style.YELLOW,
    "stopping": Style.YELLOW,
    "failed": Style.RED,
    "ended": Style.DIM,
    "offline": Style.DIM,
}
VERDICTS = {"eligible": Style.YELLOW, "reap": Style.RED}
OUTCOMES = {"pass": Style.GREEN, "keep": Style.YELLOW, "unknown": Style.BLUE}
TIERS = {"elevated": Style.YELLOW, "critical": Style.RED}


def is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: Style) -> str:
    return f"\x1b[{style.value}m{text}\x1b[0m" if style and is_coloured() else text
