"""An orderly shutdown ends agents while the daemon still runs: they come back after it."""

import asyncio
from pathlib import Path

from helpers.client import Client, client
from helpers.daemon import NAME, ROOT, Daemon
from helpers.fake_logind import fake_logind
from helpers.private_bus import PrivateBus
from helpers.processes import sleepers


async def ended_reason(caller: Client, session_id: str) -> str:
    get = ("org.freedesktop.DBus.Properties", "Get", "ss", [f"{NAME}.Session", "EndedReason"])
    path = f"{ROOT}/session/{session_id}"
    while not (reason := (await caller.bus.call(NAME, path, *get)).body[0].value):
        pass
    return str(reason)


async def test_what_ends_while_the_machine_goes_down_was_ended_by_that(
    tmp_path: Path, private_bus: PrivateBus
) -> None:
    daemon = Daemon(tmp_path, private_bus, DBUS_SYSTEM_BUS_ADDRESS=private_bus.address)
    async with fake_logind(private_bus.address) as logind, client(private_bus.address) as caller:
        await asyncio.to_thread(daemon.start)
        try:
            who = await logind.asked.get()
            with sleepers(4) as leaders:
                ids = [await caller.register(leader.pid) for leader in leaders]
                reasons = []
                for number, goes_down in enumerate([True, False, True]):
                    await logind.prepare(who, start=goes_down)
                    leaders[number].kill()
                    reasons.append(await ended_reason(caller, ids[number]))
                await caller.call("TerminateSession", "ss", ids[3], "a test")
                reasons.append(await ended_reason(caller, ids[3]))
            assert reasons == ["reboot", "exited", "reboot", "terminated"]
        finally:
            await asyncio.to_thread(daemon.__exit__, None, None, None)


async def test_where_there_is_no_system_bus_whoever_ends_has_left(daemon: Daemon) -> None:
    async with client(daemon.bus.address) as caller:
        with sleepers(1) as (leader,):
            session_id = await caller.register(leader.pid)
        assert await ended_reason(caller, session_id) == "exited"
