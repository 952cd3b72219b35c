"""Who may do what: the whole table, asked by real processes of the users it is about."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from helpers.asker import PROGRAM, Asker, asker
from helpers.authorization import ALLOWED, ROWS, Column, outcomes, own
from helpers.daemon import NAME, CallFailed
from helpers.system import System, system
from helpers.users import ALICE, BOB, PYTHON, as_user, needs_root
from musterd.ports import Action

pytestmark = needs_root

UIDS = {"alice": ALICE, "bob": BOB, "root": 0}

# Who asks about what is Alice's.
COLUMNS = {
    "owner": Column("alice", is_owner=True),
    "owner with set-mode": Column("alice", is_owner=True, granted=[Action.SET_MODE]),
    "owner with manage-others": Column("alice", is_owner=True, granted=[Action.MANAGE_OTHERS]),
    "other": Column("bob"),
    "other with manage-others": Column("bob", granted=[Action.MANAGE_OTHERS]),
    "other with set-mode": Column("bob", granted=[Action.SET_MODE]),
    "other whom polkit says no": Column("bob", helps_a_password=False),
    "root": Column("root"),
}


def asking(stage: System, uid: int) -> AbstractAsyncContextManager[Asker]:
    program = stage.directory / PROGRAM.name
    program.write_text(PROGRAM.read_text())
    program.chmod(0o644)
    return asker(*as_user(uid, PYTHON, str(program), stage.bus), environ=stage.environ(uid))


@pytest.mark.parametrize("name", COLUMNS)
async def test_each_call_is_allowed_to_whom_the_table_says(directory: Path, name: str) -> None:
    column = COLUMNS[name]
    async with (
        system(directory, allowed=column.granted) as stage,
        asking(stage, ALICE) as alice,
        asking(stage, UIDS[column.user]) as who,
    ):
        stage.polkit.refuses = not column.helps_a_password
        for interactive in (False, True):
            subject = await own(who if column.is_owner else alice)
            found = await outcomes(who, subject, interactive=interactive)
            assert found == {row.name: column.expected(row, interactive=interactive) for row in ROWS}


async def test_caller_is_who_the_bus_says_and_polkit_is_asked_about_that(directory: Path) -> None:
    async with system(directory) as stage:
        with pytest.raises(CallFailed, match="Only an operator may"):
            await stage.call(ALICE, "Reaper.SetMode", "ss", "on", "I am root")
        names, actions, flags = zip(*stage.polkit.asked, strict=True)
        assert all(name.startswith(":") for name in names)
        assert (actions, flags) == ((Action.SET_MODE,) * 2, (0, 1))  # busctl lets it ask its user
        await stage.call(0, "Reaper.SetMode", "ss", "off", "test")
        assert len(stage.polkit.asked) == 2  # root needs no asking


async def test_call_is_one_question_to_polkit_and_a_hold_asks_for_no_password(directory: Path) -> None:
    async with (
        system(directory, allowed=[Action.MANAGE_OTHERS]) as stage,
        asking(stage, ALICE) as alice,
        asking(stage, BOB) as bob,
    ):
        subject = await own(alice)
        rows = {row.name: row.question(subject, interactive=True) for row in ROWS}
        read = f"org.freedesktop.DBus.Properties.Get {NAME}.Session.CWD"
        for question in (read, "Reaper.Explain", "Manager.Inhibit own"):
            assert (await bob.ask(rows[question]))[0][0] == ALLOWED
        asked = [(action, flags) for _, action, flags in stage.polkit.asked]
        assert asked == [(Action.MANAGE_OTHERS, 0), (Action.MANAGE_OTHERS, 0), (Action.SET_MODE, 0)]
