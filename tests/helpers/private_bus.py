"""Message buses for one test: dbus-daemon, and dbus-broker without the launcher that needs systemd."""

import array
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from dbus_fast import Message, MessageType, Variant
from dbus_fast._private.unmarshaller import Unmarshaller

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <listen>unix:path={path}</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
 </policy>
 {limits}
</busconfig>
"""


class PrivateBus:
    """A bus process below `path`. `address` stays the same over `restart()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = f"unix:path={path}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.path.unlink(missing_ok=True)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


class DBusDaemon(PrivateBus):
    """`limits` as in dbus-daemon(1), for example {"max_incoming_bytes": 1000000}."""

    def __init__(self, path: Path, limits: Mapping[str, int] | None = None) -> None:
        super().__init__(path)
        self._limits = limits or {}

    def start(self) -> None:
        limits = "".join(f'<limit name="{name}">{value}</limit>' for name, value in self._limits.items())
        config = self.path.with_name("bus.conf")
        config.write_text(CONFIG.format(path=self.path, limits=limits))
        ready, tell = os.pipe()
        command = ["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={config}"]
        command += [f"--print-address={tell}"]
        try:
            self.process = subprocess.Popen(command, pass_fds=[tell])
        finally:
            os.close(tell)
        with os.fdopen(ready) as lines:
            assert lines.readline().startswith("unix:"), "dbus-daemon did not start"


class DBusBroker(PrivateBus):
    """dbus-broker with this process as its controller: we hand it the socket and a policy that allows all.

    The protocol is dbus-broker's own (its man page, section CONTROLLER); the policy's types are those of
    version 33 and later, in the order of its source, `src/bus/policy.h`.
    """

    BATCH = "bta(btbs)a(btssssuutt)a(btssssuutt)"  # connect, own, send, receive; each with a priority
    POLICY = f"(a(u({BATCH}))a(buu({BATCH}))a(ss)bs)"  # by uid, by gid range, SELinux, AppArmor, bus type
    ANY_UID = 0xFFFFFFFF
    NO_LIMIT = 0xFFFFFFFFFFFFFFFF

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._controller: socket.socket | None = None

    def start(self) -> None:
        self._controller, theirs = socket.socketpair()
        self._controller.settimeout(60)
        with theirs, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(self.path))
            listener.listen(128)
            listener.setblocking(False)
            command = ["dbus-broker", "--controller", str(theirs.fileno()), "--machine-id", "1" * 32]
            command += ["--max-bytes", "536870912", "--max-fds", "4096", "--max-matches", "131072"]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
            self._hand_over(self._controller, listener)

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.close()
            self._controller = None
        super().stop()

    def _hand_over(self, controller: socket.socket, listener: socket.socket) -> None:
        uid = str(os.getuid()).encode().hex().encode()
        controller.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n")
        message = Message(
            path="/org/bus1/DBus/Broker",
            interface="org.bus1.DBus.Broker",
            member="AddListener",
            signature="ohv",
            body=["/org/bus1/DBus/Listener/0", 0, self._policy()],
            unix_fds=[listener.fileno()],
            serial=1,
        )
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))
        controller.sendmsg([message._marshall(True)], [rights])
        with controller.makefile("rb") as stream:
            assert stream.readline().startswith(b"OK ")
            assert stream.readline() == b"AGREE_UNIX_FD\r\n"
            reply = Unmarshaller(stream).unmarshall()  # type: ignore[arg-type]  # it only reads
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply

    def _policy(self) -> Variant:
        anything = [True, 1, "", "", "", "", 0, 0, 0, self.NO_LIMIT]
        batch = [True, 1, [[True, 1, True, ""]], [anything], [anything]]
        return Variant(self.POLICY, [[[self.ANY_UID, batch]], [], [], False, "session"])
