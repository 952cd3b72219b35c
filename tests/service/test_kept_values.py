"""What a client may keep: properties whose changes are told with their values are never other than told."""

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from dbus_fast import Variant

from helpers.client import Client, client
from helpers.daemon import NAME, ROOT, Daemon
from musterd.bus.contract import Contract
from musterd.bus.names import MANAGER, PROPERTIES, REAPER, SESSION, STOP_GATE, session_path
from musterd.bus.signals import Match, Signal

LATEST = 60.0  # seconds, on a busy machine

CHANGED = "[reaper]\nbudget-per-hour = 3\n[limits]\nsessions = 4\nsessions-per-user = 2\n"

Values = dict[tuple[str, str], dict[str, Any]]  # by path and interface


class Keeper:
    """Asks for all properties of an object once, then believes what it is told."""

    def __init__(self, caller: Client) -> None:
        self.kept: Values = defaultdict(dict)
        self._caller = caller
        self._contract = Contract.load()

    async def begin(self, path: str, *interfaces: str) -> Self:
        match = Match(NAME, PROPERTIES, "PropertiesChanged", path)
        await self._caller.bus.subscribe(match, self._told)
        for interface in interfaces:
            self.kept[path, interface] = await self._asked(path, interface)
        return self

    def _told(self, told: Signal) -> None:
        interface, changed, _ = told.args
        self.kept[told.path, interface].update(_plain(changed))

    async def _asked(self, path: str, interface: str) -> dict[str, Any]:
        (values,) = (await self._caller.bus.call(NAME, path, PROPERTIES, "GetAll", "s", [interface])).body
        told = self._contract.interfaces[interface].changes({name: values[name].value for name in values})[1]
        assert isinstance(told, dict)
        return _plain(told)

    async def expect_all_told(self) -> None:
        """By now, or soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LATEST):
                while self.kept != await self.now():
                    pass
        assert self.kept == await self.now()

    async def now(self) -> Values:
        return {key: await self._asked(*key) for key in self.kept}


def _plain(values: Mapping[str, Variant]) -> dict[str, Any]:
    return {name: variant.value for name, variant in values.items()}


async def test_of_the_daemon(daemon: Daemon) -> None:
    async with client(daemon.bus.address) as caller:
        keeper = await Keeper(caller).begin(ROOT, MANAGER, REAPER, STOP_GATE)
        for member, args in (
            ("Reaper.SetMode", ("ss", "off", "a test")),
            ("StopGate.SetMode", ("ss", "enforce", "a test")),
            ("StopGate.SetKillSwitch", ("bs", True, "a test")),
        ):
            await caller.call(member, *args)
            await keeper.expect_all_told()
        daemon.config.write_text(daemon.config.read_text() + CHANGED)
        assert daemon.process
        daemon.process.send_signal(signal.SIGHUP)
        while (await keeper.now())[ROOT, REAPER]["BudgetPerHour"] != 3:
            pass
        await keeper.expect_all_told()
        manager = keeper.kept[ROOT, MANAGER]
        assert (manager["SessionsMax"], manager["SessionsPerUserMax"]) == (4, 2)


async def test_of_a_session(daemon: Daemon, tmp_path: Path) -> None:
    async with client(daemon.bus.address) as caller:
        session = await caller.register(os.getpid(), agent="codex", cwd=str(tmp_path))
        keeper = await Keeper(caller).begin(session_path(session), SESSION)
        task = {"session": Variant("s", session), "task": Variant("s", "tidy up")}
        for event in ("UserPromptSubmit", "PermissionRequest", "PreToolUse", "Stop"):
            await caller.call("ReportEvent", "sss", "codex", event, '{"session_id": "0199a213"}')
            await keeper.expect_all_told()
        await caller.call("SetProtected", "sb", session, True)
        await keeper.expect_all_told()
        (claim,) = await caller.call("StopGate.Claim", "a{sv}", task)
        await keeper.expect_all_told()
        await caller.call("StopGate.UpdateClaim", "sa{sv}", claim, {"phase": Variant("s", "done")})
        await keeper.expect_all_told()
        assert keeper.kept[session_path(session), SESSION]["Protected"] is True
