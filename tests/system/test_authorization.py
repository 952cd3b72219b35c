"""Who may do what, with the real polkit: the whole table, and what an administrator makes of it."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from helpers.asker import PROGRAM, Asker, asker
from helpers.authorization import (
    ACCESS_DENIED,
    ALLOWED,
    NOT_AUTHORIZED,
    PASSWORD_REQUIRED,
    ROWS,
    Column,
    Row,
    outcomes,
    own,
)
from helpers.machine import ENVIRON, Machine
from helpers.programs import until
from helpers.terminal import on_its_terminal, terminal
from musterd.ports import Action

from .conftest import start_anew

# Above those of the distribution; what it does not decide is asked of an administrator.
RULES = "/etc/polkit-1/rules.d/10-test.rules"
RULE = """polkit.addAdminRule(function(action, subject) {
    return ["unix-user:olga"];
});
polkit.addRule(function(action, subject) {
    var granted = {"carol": "org.musterd.muster1.manage-others", "dan": "org.musterd.muster1.set-mode"};
    if (action.id.indexOf("org.musterd.muster1.") != 0) {
        return polkit.Result.NOT_HANDLED;
    }
    if (subject.user == "eve") {
        return polkit.Result.NO;
    }
    return granted[subject.user] == action.id ? polkit.Result.YES : polkit.Result.NOT_HANDLED;
});
"""
USERS = ("alice", "bob", "carol", "dan", "eve", "olga")

ASKING = "/usr/local/lib/asker_program.py"

PASSWORD = "correct horse"  # Olga's, who is the administrator

OWN_RULES = "/etc/polkit-1/rules.d/05-own.rules"
OWN_RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.musterd.muster1.manage-others" && subject.user == "bob") {
        return polkit.Result.YES;
    }
});
"""

# Who asks about what is Alice's.
COLUMNS = {
    "owner": Column("alice", is_owner=True),
    "owner whom a rule grants set-mode": Column("dan", is_owner=True, granted=[Action.SET_MODE]),
    "owner whom a rule grants manage-others": Column("carol", is_owner=True, granted=[Action.MANAGE_OTHERS]),
    "owner whom a rule says no": Column("eve", is_owner=True, helps_a_password=False),
    "other": Column("bob"),
    "other whom a rule grants set-mode": Column("dan", granted=[Action.SET_MODE]),
    "other whom a rule grants manage-others": Column("carol", granted=[Action.MANAGE_OTHERS]),
    "other whom a rule says no": Column("eve", helps_a_password=False),
    "administrator": Column("olga"),
    "root": Column("root"),
}


@pytest.fixture(scope="module")
def stage(installed: Machine) -> Iterator[Machine]:
    """With users, and rules about some of them."""
    for name in USERS:
        installed.run("useradd", "--create-home", name)
    installed.shell(f"echo 'olga:{PASSWORD}' | chpasswd")
    add_rule(installed, RULES, RULE)
    installed.write(ASKING, PROGRAM.read_text())
    installed.run("chmod", "644", ASKING)
    installed.run("systemctl", "restart", "polkit.service")
    start_anew(installed)
    yield installed
    installed.run("systemctl", "stop", "musterd-warden@*.service")
    installed.run("rm", RULES)
    installed.run("systemctl", "restart", "polkit.service")


def add_rule(machine: Machine, path: str, text: str) -> None:
    """As a whole, and so that polkit, which is not root, can read it."""
    machine.write(f"{path}.new", text)
    machine.run("chmod", "644", f"{path}.new")
    machine.run("mv", f"{path}.new", path)


def asking(machine: Machine, user: str) -> AbstractAsyncContextManager[Asker]:
    bus = "unix:path=/run/dbus/system_bus_socket"
    command = ("env", "PYTHONPATH=/usr/lib/musterd", "python3", ASKING, bus)
    return asker(*machine.inside(*command, user="" if user == "root" else user), environ=ENVIRON)


@pytest.mark.parametrize("name", COLUMNS)
async def test_each_call_is_allowed_to_whom_the_table_says(stage: Machine, name: str) -> None:
    column = COLUMNS[name]
    async with asking(stage, "alice") as alice, asking(stage, column.user) as who:
        for interactive in (False, True):
            subject = await own(who if column.is_owner else alice)
            found = await outcomes(who, subject, interactive=interactive)
            assert found == {row.name: column.expected(row, interactive=interactive) for row in ROWS}


def row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


async def test_polkit_that_hangs_keeps_nobody_waiting_but_who_needs_it(stage: Machine) -> None:
    async with (
        asking(stage, "alice") as alice,
        asking(stage, "bob") as bob,
        asking(stage, "carol") as carol,
        asking(stage, "root") as root,
    ):
        subject = await own(alice)
        explain = row("Reaper.Explain").question(subject, interactive=False)
        orders = [
            row(name).question(subject, interactive=True) for name in ("Reaper.SetMode", "StopGate.SetMode")
        ]
        assert [error for error, _ in await carol.ask(explain)] == [ALLOWED]
        polkit = stage.unit("polkit.service", "MainPID")["MainPID"]
        assert int(polkit) > 1
        stage.run("kill", "-STOP", polkit)
        try:
            needing = asyncio.create_task(bob.ask(explain, *orders))
            not_needing = [*await alice.ask(explain), *await root.ask(explain, *orders)]
            assert ([error for error, _ in not_needing], needing.done()) == ([ALLOWED] * 4, False)
            refused = await needing
        finally:
            stage.run("kill", "-CONT", polkit)
        assert [error for error, _ in refused] == [ACCESS_DENIED, NOT_AUTHORIZED, NOT_AUTHORIZED]
        assert all("polkit, which might allow it, does not answer" in text for _, [text] in refused)
        answers = [*await bob.ask(explain), *await carol.ask(explain)]
        assert [error for error, _ in answers] == [PASSWORD_REQUIRED, ALLOWED]


async def test_rule_of_an_administrator_holds_without_a_restart(stage: Machine) -> None:
    async with asking(stage, "alice") as alice, asking(stage, "bob") as bob:
        explain = row("Reaper.Explain").question(await own(alice), interactive=False)

        async def until_bob_gets(expected: str) -> None:
            while [error for error, _ in await bob.ask(explain)] != [expected]:
                pass  # polkit sees a new file some time

        running = [stage.unit(unit, "MainPID") for unit in ("musterd.service", "polkit.service")]
        await until_bob_gets(PASSWORD_REQUIRED)
        add_rule(stage, OWN_RULES, OWN_RULE)
        try:
            await until_bob_gets(ALLOWED)
        finally:
            stage.run("rm", OWN_RULES)
        await until_bob_gets(PASSWORD_REQUIRED)
        assert [stage.unit(unit, "MainPID") for unit in ("musterd.service", "polkit.service")] == running


@pytest.mark.parametrize(
    ("typed", "status", "mode"),
    [
        pytest.param(f"{PASSWORD}\n", 0, "off", id="the right one"),
        pytest.param("wrong\n", 1, "dry-run", id="a wrong one"),
        pytest.param("\x03", 130, "dry-run", id="Ctrl-C"),
    ],
)
def test_password_of_an_administrator_lets_a_user_set_a_mode(
    stage: Machine, typed: str, status: int, mode: str
) -> None:
    stage.run("musterctl", "reaper", "mode", "dry-run")
    order = on_its_terminal("musterctl", "reaper", "mode", "off")
    with terminal(*stage.inside(*order, user="bob"), environ=ENVIRON) as shown:
        shown.type_in_secret("Password: ", typed)
        assert (shown.wait(), stage.get("Reaper.Mode")) == (status, mode), shown.text
        assert shown.echoes
    until(lambda: stage.run("pgrep", "pkttyagent", check=False).status, "an end of the agent", 60)


def test_order_to_another_user_s_session_asks_once_for_a_password(stage: Machine) -> None:
    spec = ["agent", "s", "other", "host", "s", "far"]
    session_id, _ = stage.call("RegisterSession", "a{sv}", 2, *spec)  # root's
    order = on_its_terminal("musterctl", "release", str(session_id))
    with terminal(*stage.inside(*order, user="bob"), environ=ENVIRON) as shown:
        shown.type_in_secret("Password: ", f"{PASSWORD}\n")
        assert (shown.wait(), shown.text.count("Password: ")) == (0, 1), shown.text
    assert session_id not in str(stage.call("ListSessions"))


def test_order_in_a_script_is_refused_and_told_what_would_help(stage: Machine) -> None:
    done = stage.run("musterctl", "reaper", "mode", "off", user="bob", check=False)
    said = (
        "musterctl: Only an operator may change the mode of the reaper,"
        " and this call lets nobody be asked for a password.\n"
        "Hint: Run it as root; an order may also ask for a password, in a terminal.\n"
    )
    assert (done.status, done.stderr) == (1, said)
