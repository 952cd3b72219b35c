"""`list`: the roll as a table."""

import os
import time
from argparse import Namespace
from collections.abc import Sequence

from . import sessions, table
from .client import Client, Properties
from .style import STATES, VERDICTS, Style
from .table import Cell, Column, Row
from .text import ago, printable, size, user_name


async def run(client: Client, args: Namespace) -> None:
    if args.quiet:
        await _ids(client, ended=args.all)
        return
    found = await sessions.look(client, ended=args.all)
    if "json" in args:
        print(sessions.as_json(found))
        return
    is_legend = "no_legend" not in args
    lines = render(found, now=time.time_ns() // 1000, legend=is_legend, room=table.room())
    if is_legend:
        lines = [*lines, "", summary(found)] if found else [summary(found)]
    if lines:
        table.show(lines, pager="no_pager" not in args)


async def _ids(client: Client, *, ended: bool) -> None:
    rows = await sessions.listed(client)
    if ended:
        rows += await sessions.listed(client, "ListEndedSessions")
    for row in rows:
        print(printable(row[0]))


def render(found: Sequence[Properties], *, now: int, legend: bool, room: int) -> list[str]:
    """The table. Users only where there are more than one, or another than the caller."""
    is_shared = any(session["UID"] != os.getuid() for session in found)
    columns = [
        Column("ID"),
        Column("AGENT"),
        *([Column("USER")] if is_shared else []),
        Column("STATE"),
        Column("SINCE"),
        Column("MEMORY", right=True),
        Column("VERDICT"),
        Column("TERMINAL", flexible=True),
        Column("WHAT", flexible=True),
    ]
    return table.layout(
        columns, [_row(s, now, is_shared=is_shared) for s in found], legend=legend, room=room
    )


def _row(session: Properties, now: int, *, is_shared: bool) -> Row:
    return [
        Cell(session["Id"], Style.BOLD),
        session["Agent"],
        *([user_name(session["UID"])] if is_shared else []),
        Cell(session["State"], STATES.get(session["State"], Style.NONE)),
        ago(sessions.since(session), now) if sessions.since(session) else "-",
        size(session["Memory"]) if session["Memory"] else "-",
        Cell(_verdict(session), VERDICTS.get(session["Verdict"], Style.NONE)),
        terminal(session["Terminal"]) or "-",
        what(session),
    ]


def _verdict(session: Properties) -> str:
    return "pinned" if session["Protected"] else sessions.verdict(session) or "-"


def terminal(text: str) -> str:
    """tmux:SOCKET:PANE without the socket's directory; a tty without /dev/."""
    kind, _, rest = text.partition(":")
    if kind != "tmux":
        return text.removeprefix("/dev/")
    socket, _, pane = rest.rpartition(":")
    name = socket.rpartition("/")[2]
    return f"tmux {pane}" if name in ("", "default") else f"tmux {name} {pane}"


def what(session: Properties) -> str:
    """The title, and where: the last parts of a directory say most."""
    home = os.path.expanduser("~")
    cwd = session["CWD"]
    if cwd == home or cwd.startswith(home + "/"):
        cwd = "~" + cwd[len(home) :]
    return f"{session['Title']} ({cwd})" if session["Title"] and cwd else session["Title"] or cwd


def summary(found: Sequence[Properties]) -> str:
    if not found:
        return "No sessions."
    states = ", ".join(
        f"{count} {printable(state)}" for state, count in sessions.counts(list(found)).items()
    )
    plural = "s" if len(found) > 1 else ""
    memory = sum(session["Memory"] for session in found)
    return f"{len(found)} session{plural}: {states}; {size(memory)} in all."
