"""Tables for people: a heading, aligned columns as wide as the terminal allows, and a legend."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from .style import Style, paint
from .text import printable, shorten, width

GAP = "  "
LEAST = 8  # columns that a shortened one keeps


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    style: Style = Style.NONE


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    right: bool = False  # aligned, for numbers
    flexible: bool = False  # may be shortened when the terminal is narrow


Row = Sequence[Cell | str]


def layout(columns: Sequence[Column], rows: Sequence[Row], *, legend: bool, room: int) -> list[str]:
    """The lines of a table, not wider than `room` columns (0: as wide as they like)."""
    cells = [[_safe(cell) for cell in row] for row in rows]
    heads = [[Cell(column.name, Style.BOLD) for column in columns]] if legend else []
    widths = [max((width(row[i].text) for row in (*heads, *cells)), default=0) for i in range(len(columns))]
    widths = _fit(columns, widths, room)
    return [_line(columns, row, widths) for row in (*heads, *cells)]


def _safe(cell: Cell | str) -> Cell:
    return Cell(printable(cell.text), cell.style) if isinstance(cell, Cell) else Cell(printable(cell))


def _fit(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """Take from the widest flexible column until all fit, or none can be narrower."""
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room if room else 0
    flexible = [i for i, column in enumerate(columns) if column.flexible]
    while excess > 0 and flexible:
        widest = max(flexible, key=lambda i: widths[i])
        if widths[widest] <= LEAST:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _line(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]) -> str:
    parts = []
    for column, cell, room in zip(columns, row, widths, strict=True):
        text = shorten(cell.text, room)
        padding = " " * (room - width(text))
        painted = paint(text, cell.style)
        parts.append(padding + painted if column.right else painted + padding)
    return GAP.join(parts).rstrip()


def room() -> int:
    """Columns of the terminal; 0 where there is none, and nothing is to be cut."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 0


def show(lines: Sequence[str], *, pager: bool = False) -> None:
    """Print, through a pager if that is wanted, there is a terminal, and it is too short."""
    is_long = len(lines) >= shutil.get_terminal_size((80, 24)).lines
    if pager and is_long and sys.stdout.isatty() and _page(lines):
        return
    print("\n".join(lines))


def _page(lines: Sequence[str]) -> bool:
    """less(1): F quits if all fits, R lets colours only through, S cuts long lines, K ends on Ctrl-C."""
    program = os.environ.get("MUSTERD_PAGER") or os.environ.get("PAGER") or "less"
    if program in ("", "cat"):
        return False
    environ = {**os.environ, "LESS": "FRSXMK", "LESSSECURE": "1"}
    with suppress(OSError, BrokenPipeError):
        text = "\n".join(lines) + "\n"
        subprocess.run(program.split(), input=text, text=True, env=environ, check=False)
        return True
    return False
