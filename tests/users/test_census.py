"""Users who run agents are found, without anything of theirs being opened."""

import shutil
from pathlib import Path

from helpers.system import process_of, system
from helpers.users import ALICE, needs_root

pytestmark = needs_root

LOOKING = '[discovery]\nenabled = true\ninterval = "1s"\n'


async def test_agent_that_was_there_before_any_call_is_found(directory: Path) -> None:
    agent = directory / "codex"
    shutil.copy("/usr/bin/cat", agent)
    with process_of(ALICE, str(agent)) as pid:
        async with system(directory, config=LOOKING) as stage:
            while not (sessions := await stage.sessions(ALICE)):
                pass
            [session] = sessions
            assert ALICE in stage.systemd.started
            path = await stage.call(ALICE, "GetSessionByPID", "u", pid)
            assert path == [f"/org/musterd/Muster1/session/{session}"]
