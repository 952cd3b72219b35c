"""What the reaper or the stop gate did, as its `History` tells it."""

from argparse import Namespace
from collections.abc import Sequence

from . import sessions, table
from .client import Properties
from .failure import CtlError
from .text import clock, printable


def show(events: Sequence[Properties], args: Namespace) -> None:
    """Oldest first, as they come."""
    if "json" in args:
        print(sessions.as_json(events))
        return
    try:
        lines = [_line(event) for event in events]
    except KeyError as exc:
        raise CtlError(f"The history has no {exc}; the daemon is of another version.") from exc
    if lines:
        table.show(lines, pager="no_pager" not in args)


def _line(event: Properties) -> str:
    session, text = printable(event["Session"]) or "-", printable(event["Text"])
    return f"{clock(event['TimeUSec'])}  {printable(event['Kind']):<10}  {session:<8}  {text}"
