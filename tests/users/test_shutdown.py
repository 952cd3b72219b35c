"""The system daemon hears of a shutdown on its own bus, as the user that it is."""

from pathlib import Path

from helpers.fake_logind import fake_logind
from helpers.system import system
from helpers.users import ALICE, needs_root

pytestmark = needs_root


async def test_what_ends_while_the_machine_goes_down_was_ended_by_that(directory: Path) -> None:
    async with system(directory) as stage, fake_logind(stage.bus) as logind:
        who = await logind.asked.get()
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            await logind.prepare(who)
        while await stage.sessions(ALICE):
            pass
        [[event]] = await stage.call(ALICE, "ListEvents", "utts", 1, 0, 0, session)
        assert event[3:6:2] == ["ended", f"session '{session}' ended: reboot"]
