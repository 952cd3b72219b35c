"""`reaper`: what it would do now; `reaper mode`: show or set it; `reaper history`: what it did."""

import time
from argparse import Namespace

from musterd.bus.names import REAPER

from . import history, sessions, table
from .client import Client, plain
from .status import reaper_line
from .style import VERDICTS, Style
from .table import Cell, Column
from .text import moment, printable, size


async def run(client: Client, args: Namespace) -> None:
    match args.what:
        case "mode":
            await _mode(client, args)
        case "history":
            await _history(client, args)
        case _:
            await _verdicts(client, args)


async def _mode(client: Client, args: Namespace) -> None:
    if args.mode:
        await client.reaper("SetMode", "ss", args.mode, args.why or history.NO_REASON, ask=True)
        return
    reaper = await client.properties(REAPER)
    print(sessions.as_json({"Mode": reaper["Mode"]}) if "json" in args else printable(reaper["Mode"]))


async def _verdicts(client: Client, args: Namespace) -> None:
    (rows,) = await client.reaper("ListVerdicts")
    reaper = await client.properties(REAPER)
    if "json" in args:
        verdicts = [dict(zip(("Id", "Verdict", "KeptBy", "Memory"), row, strict=True)) for row in rows]
        print(sessions.as_json({**reaper, "Verdicts": verdicts}))
        return
    columns = [Column("ID"), Column("VERDICT"), Column("KEPT BY"), Column("MEMORY", right=True)]
    cells = [
        [session_id, Cell(verdict, VERDICTS.get(verdict, Style.NONE)), kept_by or "-", size(memory)]
        for session_id, verdict, kept_by, memory in rows
    ]
    is_legend = "no_legend" not in args
    now = time.time_ns() // 1000
    looked = moment(reaper["LastEvaluationUSec"], now) or "never"
    head = [
        f"Mode: {reaper_line(reaper)}",
        *([f"Set: {said}"] if (said := history.setting(reaper, "Mode", now)) else []),
        f"Tier: {printable(reaper['Tier'])}",
        f"Last look: {looked}",
        "",
    ]
    body = table.layout(columns, cells, legend=is_legend, room=table.room()) if rows else ["No sessions."]
    table.show([*(head if is_legend else []), *body], pager="no_pager" not in args)


async def _history(client: Client, args: Namespace) -> None:
    (rows,) = await client.reaper("History", "u", args.lines)
    history.show([plain(row) for row in reversed(rows)], args)
