"""`pressure`: the tier in force and the reading made last."""

import time
from argparse import Namespace

from musterd.bus.names import MANAGER

from . import sessions
from .client import Client
from .status import pressure_lines
from .text import moment


async def run(client: Client, args: Namespace) -> None:
    pressure = (await client.properties(MANAGER))["Pressure"]
    if "json" in args:
        print(sessions.as_json(pressure))
        return
    now = time.time_ns() // 1000
    for label, text in pressure_lines(pressure, now):
        print(f"{label:>10}: {text}" if label else f"{'':>10}  {text}")
    if read := moment(pressure.get("ReadUSec", 0), now):
        print(f"{'Read':>10}: {read}")
