"""The line that `systemctl status` shows lives: what changes is told as it happens."""

import socket
from pathlib import Path

from helpers.daemon import ALONE, CALM_MACHINE, Daemon
from helpers.private_bus import PrivateBus
from helpers.programs import PATIENCE, Programs

NO_ROUND = "7200000000"  # µs for which a watchdog would wait: far from here


def test_status_line_follows_the_roll(tmp_path: Path, private_bus: PrivateBus) -> None:
    config = ALONE + CALM_MACHINE.format(work=tmp_path)
    with (
        Daemon(tmp_path, private_bus, config, WATCHDOG_USEC=NO_ROUND) as daemon,
        ServiceManager(tmp_path / "notify") as manager,
        Programs() as programs,
    ):
        pid = programs.start("sleep", "infinity")
        daemon.call("RegisterSession", "a{sv}", 1, "pid", "u", pid)
        manager.hear("STATUS=1 session, 0 busy; pressure normal; reaper ")
        programs.end(pid)
        manager.hear("STATUS=0 sessions, 0 busy; ")
        daemon.stop()
        manager.hear("STOPPING=1\nSTATUS=Stopping")


class ServiceManager(socket.socket):
    """In the place of the one that waited for READY=1."""

    def __init__(self, path: Path) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        path.unlink()
        self.bind(str(path))
        self.settimeout(PATIENCE)

    def hear(self, beginning: str) -> None:
        while not self.recv(4096).decode().startswith(beginning):
            pass
