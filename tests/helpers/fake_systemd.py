"""A systemd of the test's own, as far as wardens need one: starts real ones, as their users."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from helpers.users import PYTHON, as_user
from musterd.bus.call import Call
from musterd.bus.connection import BusConnection
from musterd.bus.contract import Contract
from musterd.bus.front import Front
from musterd.bus.names import label_escape
from musterd.bus.systemd1 import MANAGER, NAME, PATH
from musterd.core.errors import Failed

XML = f"""<node><interface name="{MANAGER}">
 <method name="StartUnit">
  <arg name="name" type="s"/><arg name="mode" type="s"/><arg name="job" type="o" direction="out"/>
 </method>
 <method name="GetUnitByPID"><arg name="pid" type="u"/><arg name="unit" type="o" direction="out"/></method>
</interface></node>"""


class FakeSystemd:
    def __init__(self, environ: Callable[[int], Mapping[str, str]], *, idle: float) -> None:
        self._environ = environ
        self._idle = idle
        self.started: list[int] = []  # whose wardens, in order
        self.processes: dict[int, asyncio.subprocess.Process] = {}  # the main process of each unit
        self.blessed: dict[int, int] = {}  # processes that pass for the warden of that user
        self.refuses = False

    async def interfaces(self, _call: Call, path: str) -> Collection[str]:
        return (MANAGER,) if path == PATH else ()

    async def paths(self, _call: Call) -> Collection[str]:
        return [PATH]

    async def start_unit(self, call: Call) -> Sequence[Any]:
        found = re.fullmatch(r"musterd-warden@([0-9]+)\.service", call.args[0])
        assert found
        if self.refuses:
            raise Failed("The unit is masked.")
        await self.start(int(found.group(1)))
        return [f"{PATH}/job/1"]

    async def start(self, uid: int) -> None:
        running = self.processes.get(uid)
        if uid in self.blessed.values() or (running and running.returncode is None):
            return
        self.started.append(uid)
        options = ["--log-level", "debug", "--idle", str(self._idle)]
        command = [PYTHON, "-m", "helpers.patience", "warden", *options]
        self.processes[uid] = await asyncio.create_subprocess_exec(
            *as_user(uid, *command), env=dict(self._environ(uid))
        )

    async def unit_by_pid(self, call: Call) -> Sequence[Any]:
        pid = call.args[0]
        units = {process.pid: uid for uid, process in self.processes.items()} | self.blessed
        unit = f"musterd-warden@{units[pid]}.service" if pid in units else "session-1.scope"
        return [f"{PATH}/unit/{label_escape(unit)}"]

    async def stop(self) -> None:
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def fake_systemd(
    address: str, environ: Callable[[int], Mapping[str, str]], *, idle: float = 600
) -> AsyncIterator[FakeSystemd]:
    systemd = FakeSystemd(environ, idle=idle)
    front = Front(Contract([XML]), systemd)
    front.register(MANAGER, {"StartUnit": systemd.start_unit, "GetUnitByPID": systemd.unit_by_pid})
    async with asyncio.TaskGroup() as tasks, BusConnection.open(address, tasks, NAME, front):
        try:
            yield systemd
        finally:
            await systemd.stop()
