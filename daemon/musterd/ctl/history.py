"""What happened, for people: a line for each event in a pipe; on a terminal no wider than that, and less."""

import textwrap
from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple

from . import sessions, table
from .client import Properties
from .failure import CtlError
from .style import Style, paint
from .text import date, moment, printable, user_name

NO_UID = 2**32 - 1  # an event of the daemon itself
NO_REASON = "no reason given"
SEPARATOR = "; "  # in the text of an event: what happened, and then each reason


class Entry(NamedTuple):
    at: int  # µs
    kind: str
    session: str
    text: str
    user: str | None = None  # None: it is not shown whose


def show(events: Sequence[Properties], args: Namespace) -> None:
    """What the reaper or the stop gate did, as its `History` tells it. Oldest first, as they come."""
    if "json" in args:
        print(sessions.as_json(events))
        return
    try:
        entries = [
            Entry(e["TimeUSec"], e["Kind"], e["Session"], e["Text"], user_of(e["UID"])) for e in events
        ]
    except KeyError as exc:
        raise CtlError(f"The history has no {exc}; the daemon is of another version.") from exc
    room = table.room()
    shown = [line for entry in entries for line in lines(entry, room)]
    if not shown and "no_legend" not in args:
        shown = ["No events."]
    if shown:
        table.show(shown, pager="no_pager" not in args)


def setting(values: Properties, name: str, now: int) -> str:
    """Who set the property of that name, since when and why; "" of what is as shipped."""
    at = values.get(f"{name}USec", 0)  # a daemon of an older version does not say
    if not at:
        return ""
    why = printable(values[f"{name}Why"]) or NO_REASON
    return f"by {user_name(values[f'{name}UID'])} on {moment(at, now)}: {why}"


def user_of(uid: int) -> str:
    """Whose it is; of a mode, who set it."""
    return "" if uid == NO_UID else user_name(uid)


def lines(entry: Entry, room: int, *, whole: bool = False) -> list[str]:
    """Of one event, for a terminal of `room` columns; where there is none (0), one line with all of it.

    On a terminal it is told what happened; with `whole` the reasons, too, each on a line of its own.
    """
    stamp, text = date(entry.at), printable(entry.text)
    columns = [f"{printable(entry.kind):<10}", f"{printable(entry.session) or '-':<6}"]
    if entry.user is not None:
        columns.append(f"{entry.user or '-':<8}")
    head = "  ".join([stamp, *columns, ""])
    body = _beside(len(head), text, room, whole=whole) if room else [text]
    return [paint(stamp, Style.DIM) + head[len(stamp) :] + body[0], *body[1:]]


def _beside(margin: int, text: str, room: int, *, whole: bool) -> list[str]:
    """`text` in the columns that a margin leaves; but below, where that is hardly any."""
    happened, *reasons = text.split(SEPARATOR)
    if reasons and not whole:
        happened, reasons = f"{happened} …", []
    below = " " * min(margin, room // 2)
    first = _wrapped(happened, room, " " * margin, below)
    more = [line for reason in reasons for line in _wrapped(reason, room, below, below)]
    return [first[0][margin:], *first[1:], *more]


def _wrapped(text: str, room: int, first: str, margin: str) -> list[str]:
    """At least one line; the others are indented a little more."""
    return textwrap.wrap(
        text,
        room,
        initial_indent=first,
        subsequent_indent=margin + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]
