"""Single-user mode: the one warden is a plain object in this process, and its user is the operator."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from musterd.agents.catalog import ADAPTERS
from musterd.authority import Operators
from musterd.core.config import Config
from musterd.options import Options
from musterd.ports import Clock
from musterd.realm import Realm
from musterd.warden.alone import Alone
from musterd.warden.local import LocalWarden


@asynccontextmanager
async def realm(options: Options, config: Config, clock: Clock) -> AsyncIterator[Realm]:
    home, adapters = str(Path.home()), list(ADAPTERS.values())
    interval = config.discovery.period
    warden = LocalWarden(os.getuid(), adapters, clock, home, bus=options.bus, interval=interval)
    alone = Alone(warden)
    try:
        yield Realm(alone, Operators(os.getuid()), alone.attach, lambda _: None, lambda: None)
    finally:
        await warden.close()
