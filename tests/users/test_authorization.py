"""Who may do what: the whole table, asked by real processes of the users it is about."""

from contextlib import suppress
from pathlib import Path

import pytest

from helpers.daemon import NAME, ROOT, CallFailed
from helpers.system import System, system
from helpers.users import ALICE, BOB, needs_root
from musterd.ports import Action

pytestmark = needs_root

YES = "yes"
OTHERS = "belongs to another user"
OPERATOR = "Only an operator may"
NOTHING = "shows nothing"

# (call, signature, arguments); SESSION is Alice's. In this order: the last ones end it.
SESSION = "{session}"
READ = (
    ("Reaper.Explain", "s", SESSION),
    ("GetSession", "s", SESSION),
)
ACT = (
    ("SetProtected", "sb", SESSION, "true"),
    ("SetProtected", "sb", SESSION, "false"),
    ("Inhibit", "sssss", "reap", "test", "why", "block", SESSION),
)
END = (
    ("TerminateSession", "ss", SESSION, "enough"),
    ("ResumeSession", "s", SESSION),
    ("ReleaseSession", "s", SESSION),
)
MODES = (
    ("Reaper.SetMode", "ss", "off", "test"),
    ("StopGate.SetMode", "ss", "off", "test"),
    ("StopGate.SetKillSwitch", "bs", "true", "test"),
)
OF_A_SESSION = (*READ, *ACT, *END)

COLUMNS = {
    # who asks, what polkit grants: what comes of reading, of acting on a session, of changing modes
    "owner": (ALICE, (), YES, OPERATOR),
    "owner with set-mode": (ALICE, (Action.SET_MODE,), YES, YES),
    "owner with manage-others": (ALICE, (Action.MANAGE_OTHERS,), YES, OPERATOR),
    "other": (BOB, (), OTHERS, OPERATOR),
    "other with manage-others": (BOB, (Action.MANAGE_OTHERS,), YES, OPERATOR),
    "other with set-mode": (BOB, (Action.SET_MODE,), OTHERS, YES),
    "root": (0, (), YES, YES),
}


async def outcome(stage: System, uid: int, session: str, member: str, signature: str, *args: str) -> str:
    """Refused for want of a right, or not: any other refusal is not about rights."""
    try:
        await stage.call(uid, member, signature, *(arg.format(session=session) for arg in args))
    except CallFailed as exc:
        refusals = [refusal for refusal in (OTHERS, OPERATOR) if refusal in str(exc)]
        return refusals[0] if refusals else _other_refusal(str(exc))
    return YES


def _other_refusal(text: str) -> str:
    return YES if "It is not known how to resume" in text else text


@pytest.mark.parametrize("column", COLUMNS)
async def test_each_call_is_allowed_to_whom_the_table_says(directory: Path, column: str) -> None:
    uid, granted, on_session, on_modes = COLUMNS[column]
    async with system(directory, allowed=granted) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            calls = (*MODES, *OF_A_SESSION)
            found = {call[:2] + call[-1:]: await outcome(stage, uid, session, *call) for call in calls}
        expected = {call[:2] + call[-1:]: on_modes for call in MODES}
        assert found == expected | {call[:2] + call[-1:]: on_session for call in OF_A_SESSION}


async def test_each_user_reads_what_is_theirs_and_root_reads_all(directory: Path) -> None:
    async with system(directory) as stage:
        with stage.process(ALICE) as pid:
            session = await stage.register(ALICE, pid)
            path = f"{ROOT}/session/{session}"
            get = ("get-property", NAME, path, f"{NAME}.Session", "CWD")
            objects = ("call", NAME, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
            seen, reads = {}, {}
            for uid in (ALICE, BOB, 0):
                with suppress(CallFailed):
                    reads[uid] = await stage.busctl(uid, *get)
                listed = session in await stage.sessions(uid)
                shown = path in await stage.busctl(uid, *objects)
                (verdicts,) = await stage.call(uid, "Reaper.ListVerdicts")
                (events,) = await stage.call(uid, "ListEvents", "utts", 50, 0, 0, session)
                seen[uid] = (uid in reads, listed, shown, bool(verdicts), bool(events))
            assert seen == {ALICE: (True,) * 5, BOB: (False,) * 5, 0: (True,) * 5}


async def test_caller_is_who_the_bus_says_and_polkit_is_asked_about_that(directory: Path) -> None:
    async with system(directory) as stage:
        with pytest.raises(CallFailed, match=OPERATOR):
            await stage.call(ALICE, "Reaper.SetMode", "ss", "on", "I am root")
        [(name, action, flags)] = stage.polkit.asked
        assert name.startswith(":")
        assert (action, flags) == (Action.SET_MODE, 1)  # busctl lets it ask its user
        await stage.call(0, "Reaper.SetMode", "ss", "off", "test")
        assert len(stage.polkit.asked) == 1  # root needs no asking
