"""`gate`: how the stop gate acts; `gate mode`, `gate kill-switch` and `gate history`."""

import time
from argparse import Namespace

from musterd.bus.names import STOP_GATE

from . import claims, history, sessions
from .client import Client, Properties, plain
from .style import Style, paint
from .text import printable

_MODES = {
    "off": "no stop is looked at",
    "shadow": "nothing is held, the history shows what would be",
    "enforce": "owners of unfinished claims are held",
}


async def run(client: Client, args: Namespace) -> None:
    match args.what:
        case "mode" if args.mode:
            await client.gate("SetMode", "ss", args.mode, args.why or history.NO_REASON, ask=True)
        case "kill-switch" if args.switch:
            is_on, why = args.switch == "on", args.why or history.NO_REASON
            await client.gate("SetKillSwitch", "bs", is_on, why, ask=True)
        case "history":
            (rows,) = await client.gate("History", "u", args.lines)
            history.show([plain(row) for row in reversed(rows)], args)
        case _:
            await _show(client, args)


async def _show(client: Client, args: Namespace) -> None:
    gate = await client.properties(STOP_GATE)
    wanted = {"mode": ("Mode",), "kill-switch": ("KillSwitch",)}.get(args.what or "", tuple(gate))
    if "json" in args:
        print(sessions.as_json({name: gate[name] for name in wanted}))
    elif args.what == "mode":
        print(printable(gate["Mode"]))
    elif args.what == "kill-switch":
        print("on" if gate["KillSwitch"] else "off")
    else:
        active = [claim for claim in await claims.listed(client) if claim.is_active]
        now = time.time_ns() // 1000
        print(f"Stop gate: {line(gate)}")
        if said := history.setting(gate, "Mode", now):
            print(f"Mode: set {said}")
        if said := history.setting(gate, "KillSwitch", now):
            print(f"Kill switch: {'on' if gate['KillSwitch'] else 'off'}, set {said}")
        print(f"Claims: {len(active)} active")


def line(gate: Properties) -> str:
    mode = str(gate["Mode"])
    if gate["KillSwitch"]:
        return paint(
            f"kill switch is on: nothing is held, whatever the mode ({printable(mode)})", Style.YELLOW
        )
    return f"{printable(mode)}, {_MODES.get(mode, 'a mode of a later version')}"
