"""`claim`: what sessions have claimed; `claim start`, `update`, `done` and `abandon` change that."""

import time
from argparse import Namespace

from dbus_fast import Variant

from musterd.core.units import USEC_PER_SEC

from . import claims, sessions, table
from .client import Client
from .failure import CtlError, Misused

_PHASES = {"done": "done", "abandon": "abandoned"}


async def run(client: Client, args: Namespace) -> None:
    match args.what:
        case "start":
            await _start(client, args)
        case "update":
            await _update(client, args)
        case "done" | "abandon":
            await _change(client, args.claim, {"phase": Variant("s", _PHASES[args.what])})
        case _:
            await _list(client, args)


async def _start(client: Client, args: Namespace) -> None:
    session_id, _ = await sessions.resolve(client, args.session)
    spec = {
        "session": Variant("s", session_id),
        "task": Variant("s", args.task),
        "budget": Variant("s", args.budget),
    }
    if args.deadline:
        spec["deadline"] = Variant("t", time.time_ns() // 1000 + int(args.deadline * USEC_PER_SEC))
    (claim,) = await client.gate("Claim", "a{sv}", spec, ask=True)
    if args.item:
        await _list_items(client, claim, args.item)
    print(sessions.as_json({"Claim": claim}) if "json" in args else claim)


async def _list_items(client: Client, claim: str, items: list[str]) -> None:
    """A claim whose checklist is refused is none."""
    try:
        await client.gate("UpdateClaim", "sa{sv}", claim, {"checklist": Variant("as", items)}, ask=True)
    except CtlError:
        await client.gate("ReleaseClaim", "s", claim, ask=True)
        raise


async def _update(client: Client, args: Namespace) -> None:
    changes = {}
    if args.task is not None:
        changes["task"] = Variant("s", args.task)
    if args.item:
        changes["checklist"] = Variant("as", args.item)
    if args.tick:
        changes["done"] = Variant("as", args.tick)
    if not changes:
        raise Misused("Nothing is to be changed.", "Give --task, --item or --tick.")
    await _change(client, args.claim, changes)


async def _change(client: Client, text: str, changes: dict[str, Variant]) -> None:
    await client.gate("UpdateClaim", "sa{sv}", await claims.resolve(client, text), changes, ask=True)


async def _list(client: Client, args: Namespace) -> None:
    wanted = getattr(args, "id", "")
    session_id = (await sessions.resolve(client, wanted))[0] if wanted else ""
    found = await claims.listed(client, session_id)
    if "json" in args:
        print(sessions.as_json([claim.as_dict() for claim in found]))
        return
    is_legend = "no_legend" not in args
    now = time.time_ns() // 1000
    rows = [claims.row(claim, now) for claim in found]
    if rows:
        lines = table.layout(claims.COLUMNS, rows, legend=is_legend, room=table.room())
        table.show(lines, pager="no_pager" not in args)
    elif is_legend:
        print("No claims.")
