"""`events`: what happened, oldest first; with -f, as it happens; of one session, with all reasons.

Signals carry no text: they only say that it is time to ask for what is new.
"""

import json
from argparse import Namespace
from collections.abc import Sequence

from . import history, sessions, table
from .client import Client
from .failure import CtlError
from .watch import Watch, watching

KEYS = ("Number", "TimeUSec", "UID", "Kind", "Session", "Text")
QUIET = 10.0  # seconds without a signal until we ask anyway: an entry of the event log needs none
PAGE = 500

Event = tuple[int, int, int, str, str, str]


async def run(client: Client, args: Namespace) -> None:
    if not args.follow:
        _show((await _begin(client, args))[1], args)
        return
    async with watching(client) as watch:
        session_id, events = await _begin(client, args)
        await _follow(client, watch, session_id, _show(events, args), args)


async def _begin(client: Client, args: Namespace) -> tuple[str, list[Event]]:
    """The session that is meant ("": all), and its latest events. Raises CtlError if there never was one.

    History outlives sessions: one that is not known any more may still have events.
    """
    if not args.id:
        return "", await _ask(client, "", limit=args.lines)
    try:
        session_id, _ = await sessions.resolve(client, args.id)
    except CtlError as exc:
        if exc.name != "NoSuchSession" or not (past := await _ask(client, args.id, limit=args.lines)):
            raise
        return args.id, past
    return session_id, await _ask(client, session_id, limit=args.lines)


async def _ask(client: Client, session_id: str, *, limit: int, after: int = 0) -> list[Event]:
    """The newest `limit` events after that number, oldest first."""
    events: list[Event] = []
    before = 0
    while len(events) < limit:
        (page,) = await client.manager(
            "ListEvents", "utts", min(limit - len(events), PAGE), after, before, session_id
        )
        events += [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in page]
        if not page or page[-1][0] <= after + 1:
            break
        before = page[-1][0]
    return events[::-1]


async def _follow(client: Client, watch: Watch, session_id: str, last: int, args: Namespace) -> None:
    while True:
        await watch.wait(QUIET)
        last = _show(await _ask(client, session_id, limit=2**31, after=last), args) or last


def _show(events: Sequence[Event], args: Namespace) -> int:
    """Print, and return the number of the last one (0 if there is none)."""
    for event in events:
        print("\n".join(_lines(event, args)), flush=True)
    return events[-1][0] if events else 0


def _lines(event: Event, args: Namespace) -> list[str]:
    if "json" in args:
        return [json.dumps(dict(zip(KEYS, event, strict=True)))]
    _, at, uid, kind, session_id, text = event
    entry = history.Entry(at, kind, session_id, text, history.user_of(uid))
    return history.lines(entry, table.room(), whole=bool(args.id))
