"""musterd as a system service, under a real systemd."""

from helpers.machine import Machine


def test_machine_is_whole(machine: Machine) -> None:
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"


def test_service_starts_as_its_own_user_and_says_how_it_fares(installed: Machine) -> None:
    installed.run("systemctl", "start", "musterd.service")
    unit = installed.unit("musterd.service", "ActiveState", "StatusText", "NotifyAccess", "MainPID")
    assert unit["ActiveState"] == "active"
    assert unit["StatusText"].startswith("0 sessions, 0 busy; pressure ")
    status = installed.shell(f"cat /proc/{unit['MainPID']}/status")
    uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    user = installed.shell("id -u musterd").strip()
    assert uids == [user] * 4
    assert "CapEff:\t0000000000000000\n" in status
