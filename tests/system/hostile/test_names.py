"""Names and signals of others."""

from helpers.attacker import ALICE, PATIENCE, Mallory, Victim, text
from helpers.programs import until


def test_names_of_others_are_not_to_be_had(mallory: Mallory) -> None:
    said = mallory.does("names")
    assert [name for name, answer in said.items() if "AccessDenied" not in answer] == []


MONITORED = f"/home/{ALICE}/monitored"  # what is said on her own bus


def test_forged_signals_show_alice_nothing(mallory: Mallory, alice: Victim) -> None:
    machine = mallory.machine
    start = ("systemd-run", "--user", "--quiet", "--collect", "--unit=notifier", "--property=MemoryMax=128M")
    machine.run(*start, "musterd-notify", "--log-level", "debug", user=ALICE)
    shown = ("systemd-run", "--user", "--quiet", "--collect", "--unit=monitor")
    machine.run(*shown, "sh", "-c", f"busctl --user monitor >{MONITORED} 2>&1", user=ALICE)
    log = ("journalctl", "--output=cat", "_SYSTEMD_USER_UNIT=notifier.service")
    until(lambda: "Telling of what musterd" in machine.run(*log).stdout, "a notifier", PATIENCE)
    until(lambda: "Monitoring bus" in text(machine, MONITORED), "a monitor", PATIENCE)
    show = ("systemctl", "--user", "show", "notifier", "--property=MainPID,NRestarts")
    notifier = machine.run(*show, user=ALICE).stdout
    pid = notifier.split("MainPID=")[1].split()[0]
    rows = machine.run("busctl", "--no-legend", "list").stdout.splitlines()
    (name,) = (row.split()[0] for row in rows if row.startswith(":") and row.split()[1] == pid)
    try:
        done, everybody = mallory.does("forge", alice.session)
        assert (done, everybody > 5) == ("ok:", True)
        assert mallory.does("riddles", name) == "ok:"
        machine.run(
            "busctl",
            "--user",
            "call",
            "org.freedesktop.DBus",
            "/",
            "org.freedesktop.DBus",
            "GetId",
            user=ALICE,
        )
        until(lambda: "GetId" in text(machine, MONITORED), "what is monitored", PATIENCE)
        assert "Member=Notify" not in text(machine, MONITORED)
        assert machine.run(*show, user=ALICE).stdout == notifier
        status = (machine.root / f"proc/{pid}/status").read_text()
        (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak < 100 * 1024
        assert "Traceback" not in machine.run(*log).stdout
    finally:
        machine.run("systemctl", "--user", "stop", "notifier.service", "monitor.service", user=ALICE)
