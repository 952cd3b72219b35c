"""Wardens of real users, started by the real systemd, as the real polkit lets musterd."""

import time
from collections.abc import Iterator

import pytest

from helpers.machine import NAME, Machine
from helpers.programs import until

PATIENCE = 60.0  # seconds, on a busy machine

GRANT = """polkit.addRule(function(action, subject) {
    if (action.id.indexOf("org.musterd.muster1.") == 0 && subject.user == "ben") {
        return polkit.Result.YES;
    }
});
"""


@pytest.fixture(scope="module")
def users(installed: Machine) -> tuple[str, str]:
    for name in ("ann", "ben"):
        installed.add_user(name)
    return ("ann", "ben")


@pytest.fixture
def ann(musterd: Machine, users: tuple[str, str]) -> Iterator[str]:
    """A user with nothing on the roll; no process of hers is left afterwards."""
    for user in users:
        musterd.run("systemctl", "stop", unit(musterd, user))
    yield users[0]
    musterd.run("pkill", "-KILL", "-f", "^sleep 4711$", check=False)


def unit(machine: Machine, user: str) -> str:
    return f"musterd-warden@{machine.uid(user)}.service"


def register(machine: Machine, user: str) -> tuple[str, int]:
    """A session of that user -> its id, and its process."""
    pid = int(machine.shell("sleep 4711 </dev/null >/dev/null 2>&1 & echo $!", user=user))
    session_id, _ = machine.call("RegisterSession", "a{sv}", 1, "pid", "u", pid, user=user)
    return str(session_id), pid


def until_on_the_roll(machine: Machine, *ids: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := [row[0] for row in machine.call("ListSessions")[0]]) != [*ids]:
        assert time.monotonic() < deadline, found


def test_warden_is_started_when_its_user_calls_and_runs_as_that_user(musterd: Machine, ann: str) -> None:
    before = musterd.unit(unit(musterd, ann), "ActiveState")
    session_id, _ = register(musterd, ann)
    warden = musterd.unit(unit(musterd, ann), "ActiveState", "MainPID", "StatusText")
    assert (before["ActiveState"], warden["ActiveState"]) == ("inactive", "active")
    owner = musterd.run("stat", "--format=%U", f"/proc/{warden['MainPID']}").stdout.strip()
    assert owner == ann
    assert [row[0] for row in musterd.call("ListSessions", user=ann)[0]] == [session_id]


def test_end_of_a_session_is_seen(musterd: Machine, ann: str) -> None:
    _, pid = register(musterd, ann)
    musterd.run("kill", str(pid))
    until_on_the_roll(musterd)


def test_another_user_sees_nothing_of_it_and_polkit_lets_them_do_nothing(musterd: Machine, ann: str) -> None:
    session_id, pid = register(musterd, ann)
    assert musterd.call("ListSessions", user="ben") == [[]]
    for member, signature, *args in (
        ("Reaper.Explain", "s", session_id),
        ("SetProtected", "sb", session_id, "true"),
        ("TerminateSession", "ss", session_id, "mine"),
        ("ReleaseSession", "s", session_id),
        ("Reaper.SetMode", "ss", "on", "why not"),
        ("StopGate.SetKillSwitch", "bs", "true", "why not"),
        ("RegisterSession", "a{sv}", "1", "pid", "u", str(pid)),
    ):
        interface, _, method = member.rpartition(".")
        call = ("call", NAME, "/org/musterd/Muster1", f"{NAME}.{interface or 'Manager'}", method, signature)
        done = musterd.busctl("--allow-interactive-authorization=no", *call, *args, user="ben")
        assert done.status != 0, member
    until_on_the_roll(musterd, session_id)


def test_what_an_administrator_grants_in_polkit_is_allowed(musterd: Machine, ann: str) -> None:
    session_id, _ = register(musterd, ann)
    musterd.write("/etc/polkit-1/rules.d/10-ben.rules", GRANT)
    musterd.run("chmod", "644", "/etc/polkit-1/rules.d/10-ben.rules")
    musterd.run("systemctl", "restart", "polkit.service")
    try:
        musterd.call("SetProtected", "sb", session_id, "true", user="ben")
        musterd.call("Reaper.SetMode", "ss", "off", "granted", user="ben")
        assert musterd.get("Reaper.Mode") == "off"
    finally:
        musterd.run("rm", "/etc/polkit-1/rules.d/10-ben.rules")
        musterd.run("systemctl", "restart", "polkit.service")


@pytest.mark.parametrize(
    ("verb", "name", "allowed"),
    [
        ("start", "musterd-warden@0.service", True),
        ("stop", "musterd-warden@0.service", True),
        ("restart", "musterd-warden@0.service", False),
        ("start", "musterd-warden@root.service", False),
        ("start", "cron.service", False),
        ("stop", "musterd.service", False),
        ("mask", "musterd-warden@0.service", False),
    ],
)
def test_musterd_may_start_and_stop_wardens_and_nothing_else(
    musterd: Machine, verb: str, name: str, allowed: bool
) -> None:
    asked = ("runuser", "-u", "musterd", "--", "systemctl", "--no-ask-password", verb, name)
    assert (musterd.run(*asked, check=False).status == 0) is allowed


def test_warden_and_daemon_that_are_killed_come_back_and_know_all(musterd: Machine, ann: str) -> None:
    session_id, pid = register(musterd, ann)
    for name in (unit(musterd, ann), "musterd.service"):
        before = musterd.unit(name, "MainPID")["MainPID"]
        musterd.run("kill", "-KILL", before)
        deadline = time.monotonic() + PATIENCE
        while musterd.unit(name, "MainPID")["MainPID"] in (before, "0"):
            assert time.monotonic() < deadline
        until_on_the_roll(musterd, session_id)
    musterd.run("kill", str(pid))
    until_on_the_roll(musterd)


def test_nothing_is_kept_of_a_warden_that_cannot_be_started(musterd: Machine) -> None:
    name = "musterd-warden@54321.service"  # no such user
    assert musterd.run("systemctl", "start", name, check=False).status != 0
    shown = ("systemctl", "list-units", "--all", "--no-legend", name)
    until(lambda: musterd.run(*shown).stdout == "", "it is forgotten", 60.0)


def test_log_level_is_set_through_systemd(musterd: Machine) -> None:
    musterd.run("systemctl", "service-log-level", "musterd.service", "debug")
    assert musterd.run("systemctl", "service-log-level", "musterd.service").stdout == "debug\n"
    musterd.run("systemctl", "service-log-level", "musterd.service", "info")
