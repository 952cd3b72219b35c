"""What the service manager is told: ready, status, alive, reloading, stopping (sd_notify(3))."""

import logging
import os
import socket
import time

from sdnotify import SystemdNotifier

from .lines import one_line

logger = logging.getLogger(__name__)

SEND_TIMEOUT = 1.0  # seconds; a service manager that does not read must not stop the loop for longer


class Notifier:
    """The service manager at $NOTIFY_SOCKET; without one, every call does nothing."""

    def __init__(self) -> None:
        self._systemd: SystemdNotifier | None = None
        self._last_status = ""
        self.watchdog_interval = _watchdog_interval()
        if not os.environ.get("NOTIFY_SOCKET"):
            logger.debug("NOTIFY_SOCKET is not set, telling no service manager")

    def ready(self, status: str = "") -> None:
        """Started, or reloaded."""
        self._send("READY=1" + self._status_line(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent if it is new."""
        if line := self._status_line(text):
            self._send(line.lstrip("\n"))

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """To be followed by ready(). systemd sees from the time which of the two is newer (sd_notify(3))."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1" + self._status_line(status))

    def close(self) -> None:
        if self._systemd:
            self._systemd.socket.close()
            self._systemd = None

    def _status_line(self, text: str) -> str:
        text = one_line(text)
        if text in ("", self._last_status):
            return ""
        self._last_status = text
        return f"\nSTATUS={text}"

    def _send(self, state: str) -> None:
        if not os.environ.get("NOTIFY_SOCKET"):
            return
        try:
            try:
                self._deliver(state)
            except ConnectionError:  # the socket was made anew: the library keeps the old connection
                self.close()
                self._deliver(state)
        except OSError as exc:
            self.close()
            logger.warning("Cannot notify the service manager: %s, ignoring", exc)

    def _deliver(self, state: str) -> None:
        if self._systemd is None:
            _find_listener()
            self._systemd = SystemdNotifier(debug=True)
            self._systemd.socket.settimeout(SEND_TIMEOUT)
        # sdnotify 0.3.2 encodes as Latin-1 where the protocol wants UTF-8: this makes it send our bytes.
        self._systemd.notify(state.encode("utf-8", "replace").decode("latin-1"))


def _find_listener() -> None:
    """OSError if nobody listens: sdnotify 0.3.2 would leave its socket open over that."""
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.connect(f"\0{address[1:]}" if address.startswith("@") else address)


def _watchdog_interval() -> float | None:
    """Seconds, half of what the service manager waits; None if it does not (sd_watchdog_enabled(3))."""
    pid, usec = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not usec or (pid and pid != str(os.getpid())):
        return None
    if not usec.isascii() or not usec.isdigit() or int(usec) == 0:
        logger.warning("WATCHDOG_USEC is %r, which is no time span, ignoring", usec)
        return None
    return int(usec) / 2_000_000
