"""musterd as a system service: started, told, stopped by systemd and by the bus."""

from datetime import datetime

import pytest

from helpers.machine import NAME, ROOT, UNIT, Machine
from helpers.programs import until

PATIENCE = 60.0  # seconds, on a busy machine


def state(machine: Machine) -> str:
    return machine.unit(UNIT, "ActiveState")["ActiveState"]


def test_machine_is_whole(machine: Machine) -> None:
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"


def test_it_runs_as_its_own_user_without_capabilities(musterd: Machine) -> None:
    status = musterd.shell(f"cat /proc/$(systemctl show --value --property=MainPID {UNIT})/status")
    uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    assert uids == [musterd.shell("id -u musterd").strip()] * 4
    assert "CapEff:\t0000000000000000\n" in status


def test_status_has_a_living_line(musterd: Machine) -> None:
    assert 'Status: "0 sessions, 0 busy; pressure ' in musterd.run("systemctl", "status", UNIT).stdout
    register_remote(musterd)
    until(
        lambda: 'Status: "1 session, 0 busy; ' in musterd.run("systemctl", "status", UNIT).stdout,
        "the session is told of", PATIENCE,
    )  # fmt: skip


def test_journal_explains_its_records(musterd: Machine) -> None:
    session_id = register_remote(musterd)
    musterd.run("journalctl", "--sync")
    told = musterd.run("journalctl", "--catalog", "--no-pager", f"MUSTERD_SESSION={session_id}").stdout
    assert "An agent session is on the roll\n" in told
    assert f"'musterctl status {session_id}' shows what is known of it.\n" in told


def test_reload_takes_a_new_configuration(musterd: Machine) -> None:
    before = musterd.get("Reaper.BudgetPerHour")
    musterd.write("/etc/musterd/musterd.toml.d/test.toml", "[reaper]\nbudget-per-hour = 3\n")
    try:
        musterd.run("systemctl", "reload", UNIT)
        until(lambda: musterd.get("Reaper.BudgetPerHour") == 3, "the new one", PATIENCE)
        assert before == 6
    finally:
        musterd.run("rm", "-r", "/etc/musterd/musterd.toml.d")


def test_reload_keeps_the_old_configuration_when_the_new_is_wrong(musterd: Machine) -> None:
    musterd.write("/etc/musterd/musterd.toml.d/test.toml", "[reaper]\nbudget-per-hour = 3\ngrace = 'soon'\n")
    try:
        musterd.run("systemctl", "reload", UNIT)
        until(lambda: "Keeping the old configuration" in musterd.journal(UNIT), "a refusal", PATIENCE)
        assert musterd.get("Reaper.BudgetPerHour") == 6
        until(lambda: state(musterd) == "active", "it goes on", PATIENCE)
    finally:
        musterd.run("rm", "-r", "/etc/musterd/musterd.toml.d")


def test_stop_is_clean(musterd: Machine) -> None:
    musterd.run("systemctl", "stop", UNIT)
    unit = musterd.unit(UNIT, "ActiveState", "Result", "ExecMainStatus")
    assert unit == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert musterd.busctl("status", NAME).status != 0


def test_restart_keeps_the_roll(musterd: Machine) -> None:
    session_id = register_remote(musterd)
    musterd.run("systemctl", "restart", UNIT)
    assert [row[0] for row in musterd.call("ListSessions")[0]] == [session_id]


@pytest.mark.parametrize("end", ["restart", "kill --signal=KILL"])
def test_a_hold_lives_as_long_as_its_holder(musterd: Machine, end: str) -> None:
    holder = ("systemd-run", "--quiet", "--collect", "--unit=holder", "--property=Type=exec")
    musterd.run(*holder, "musterctl", "hold", "--all", "--why", "for now")
    (held,) = until(lambda: musterd.call("ListInhibitors")[0], "a hold", PATIENCE)
    before = musterd.unit(UNIT, "MainPID")["MainPID"]
    musterd.run("systemctl", *end.split(), UNIT)
    until(lambda: musterd.unit(UNIT, "MainPID")["MainPID"] not in ("0", before), "another one", PATIENCE)
    assert musterd.call("ListInhibitors") == [[held]]
    musterd.run("systemctl", "stop", "holder")
    until(lambda: musterd.call("ListInhibitors") == [[]], "its end", PATIENCE)


def test_a_call_on_the_bus_starts_it(musterd: Machine) -> None:
    musterd.run("systemctl", "stop", UNIT)
    assert musterd.call("ListSessions") == [[]]
    until(lambda: state(musterd) == "active", "it has told systemd", PATIENCE)


def test_it_starts_with_the_machine(musterd: Machine) -> None:
    assert musterd.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    session_id = register_remote(musterd)
    musterd.reboot()
    assert state(musterd) == "active"
    assert [row[0] for row in musterd.call("ListSessions")[0]] == [session_id]


def test_what_an_orderly_reboot_ends_while_it_still_runs_has_not_left(musterd: Machine) -> None:
    after = f"--property=After={UNIT} musterd-warden@0.service"
    musterd.run("systemd-run", "--unit=agent", after, "sleep", "infinity")
    pid = musterd.unit("agent.service", "MainPID")["MainPID"]
    session_id, path = musterd.call("RegisterSession", "a{sv}", 1, "pid", "u", pid)
    musterd.reboot()
    assert musterd.get("Session.EndedReason", path=path) == "reboot"
    [events] = musterd.call("ListEvents", "utts", 9, 0, 0, session_id)
    [at] = [at for _, at, _, kind, *_ in events if kind == "ended"]
    booted = musterd.run("systemctl", "show", "--timestamp=us+utc", "--property=UserspaceTimestamp").stdout
    began = datetime.fromisoformat("T".join(booted.split()[1:3]) + "+00:00")
    assert at / 1e6 < began.timestamp()  # it was there, and knew


def test_what_the_bus_tells_is_what_is_written(musterd: Machine) -> None:
    assert f"{NAME}.Manager" in musterd.run("busctl", "introspect", NAME, ROOT).stdout


def test_doctor_finds_what_is_installed(musterd: Machine) -> None:
    assert "✓ configuration: no mistakes\n" in musterd.run("musterctl", "doctor").stdout


def register_remote(machine: Machine) -> str:
    """A session whose leader no machine here can see -> its id."""
    spec = ["agent", "s", "other", "host", "s", "far"]
    session_id, _ = machine.call("RegisterSession", "a{sv}", 2, *spec)
    return str(session_id)
