"""A throw-away machine: the real systemd as PID 1, on a copy of this machine that forgets all when off.

A container (systemd-nspawn) on an overlay: what is written stays in a tmpfs. Its mounts are in a namespace
of their own, its processes in a cgroup of their own, so several may run at once; and the kernel ends it when
the process that started it ends, however that happens.
"""

import json
import os
import secrets
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .programs import until

BOOT_TIMEOUT = 120.0  # seconds, on a busy machine; it takes two
STOP_TIMEOUT = 120.0
RUN_TIMEOUT = 600.0
CALL_TIMEOUT = 120

CREDENTIALS = struct.Struct("3i")  # of who sent it: pid, uid, gid (unix(7), SCM_CREDENTIALS)

ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}

NAME = "org.musterd.Muster1"
ROOT = "/org/musterd/Muster1"
UNIT = "musterd.service"

# What boots is what a distribution ships, not what was enabled on the machine whose copy this is; the bus is
# Debian's default.
PREPARE = """set -e
mkdir {group}
echo $$ >{group}/cgroup.procs
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs {work}
mkdir {work}/upper {work}/changes {work}/root
mount -t overlay overlay -o lowerdir=/,upperdir={work}/upper,workdir={work}/changes {work}/root
cd {work}/root
: >etc/machine-id
rm -rf etc/systemd/system/*.target.wants etc/systemd/system/dbus.service etc/systemd/user/*.target.wants
mkdir -p etc/systemd/system-generators
for generator in lib/systemd/system-generators/*; do
    case ${{generator##*/}} in systemd-sysv-*) ;; systemd-*) continue ;; esac
    ln -s /dev/null etc/systemd/system-generators/
    mv etc/systemd/system-generators/null "etc/systemd/system-generators/${{generator##*/}}"
done
ln -sf /dev/null etc/systemd/system/systemd-networkd-wait-online.service
status=133 # a reboot
while [ $status -eq 133 ]; do
    status=0
    systemd-nspawn --quiet --register=no --keep-unit --directory=. --boot --private-network \\
        --link-journal=no --console=pipe --notify-ready=yes || status=$?
done
exit $status
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    stdout: str
    stderr: str


def why_not() -> str:
    """Why no such machine can be had here; empty if one can."""
    if os.getuid() != 0:
        return "only root can boot a machine with systemd"
    missing = [
        name for name in ("systemd-nspawn", "nsenter", "setpriv", "unshare") if not shutil.which(name)
    ]
    if missing:
        return f"no {', no '.join(missing)}"
    return "" if hierarchies() else "no control groups are mounted"


class Machine:
    """`with Machine(directory) as machine`: booted, and off afterwards with nothing left of it."""

    def __init__(self, directory: Path) -> None:
        self._work = directory / "machine"
        self._log = directory / "console"
        self._notify = directory / "notify"
        self.group = f"musterd-{os.getpid()}-{secrets.token_hex(4)}"
        self._socket: socket.socket | None = None
        self._shell: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._work.mkdir()
        self._listen()
        group = shlex.quote(str(hierarchies()[0] / self.group))
        script = PREPARE.format(work=shlex.quote(str(self._work)), group=group)
        # nspawn that is killed leaves its machine running: the end of a pid namespace ends it.
        around = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = ["setpriv", "--pdeathsig", "SIGKILL", *around, "sh", "-c", script]
        with self._log.open("wb") as log:
            self._shell = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self._notify)},
            )  # fmt: skip
        self._await_boot()

    def _listen(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(self._notify))

    def _hang_up(self) -> None:
        """Nobody reads what it tells from then on: if there were a socket, it would wait for that."""
        if self._socket:
            self._socket.close()
            self._socket = None
            self._notify.unlink()

    def _await_boot(self, before: int = 0) -> None:
        """Its systemd tells when it is up, nspawn passes that on: another one than `before`."""
        assert self._shell
        assert self._socket
        pidfd = os.pidfd_open(self._shell.pid)
        try:
            while True:
                ready, _, _ = select.select([self._socket.fileno(), pidfd], [], [], BOOT_TIMEOUT)
                assert self._socket.fileno() in ready, f"it does not boot:\n{self.console}"
                said, [(_, _, credentials)], _, _ = self._socket.recvmsg(
                    65536, socket.CMSG_SPACE(CREDENTIALS.size)
                )
                if b"READY=1" in said and CREDENTIALS.unpack(credentials)[0] != before:
                    break
        finally:
            os.close(pidfd)
            self._hang_up()
        self.run("systemctl", "is-system-running", "--wait", check=False)

    @property
    def leader(self) -> int:
        """Its PID 1, as seen from here; another one after a reboot."""
        nspawn = self._nspawn
        leader = _child(nspawn) if nspawn else 0
        assert leader, f"it is off:\n{self.console}"
        return leader

    @property
    def _nspawn(self) -> int:
        assert self._shell
        shell = _child(self._shell.pid)
        return _child(shell) if shell else 0

    @property
    def root(self) -> Path:
        """Its file system."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def console(self) -> str:
        return self._log.read_text(errors="replace")

    def reboot(self) -> None:
        before = self._nspawn
        self._listen()
        self.run("systemctl", "--no-block", "reboot")
        self._await_boot(before)

    def stop(self) -> None:
        """Power off, or kill; the mounts and all processes go with it."""
        try:
            if self._shell and self._shell.poll() is None:
                self._power_off(self._shell)
        finally:
            self._hang_up()
            for hierarchy in hierarchies():
                _remove_group(hierarchy / self.group)
        assert str(self._work) not in Path("/proc/self/mountinfo").read_text()

    def _power_off(self, shell: "subprocess.Popen[bytes]") -> None:
        try:
            # At once: nothing on it is worth an orderly end, and what ignores SIGTERM would be waited for.
            self.run("systemctl", "poweroff", "--force", "--force", check=False)
            shell.wait(STOP_TIMEOUT)
        finally:
            shell.send_signal(signal.SIGKILL)
            shell.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    # What is done inside

    def run(
        self,
        *command: str,
        check: bool = True,
        user: str = "",
        timeout: float = RUN_TIMEOUT,
    ) -> Outcome:
        """A command as root, or as that user with the user's own systemd and bus at hand."""
        done = subprocess.run(
            self.inside(*command, user=user), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False, env=ENVIRON,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
        return Outcome(done.returncode, done.stdout, done.stderr)

    def inside(self, *command: str, user: str = "") -> list[str]:
        """What runs a command inside, as root or as that user; best with ENVIRON."""
        return ["nsenter", "--target", str(self.leader), "--all", "--wd=/", *self._become(user), *command]

    def _become(self, user: str) -> Sequence[str]:
        if not user:
            return []
        runtime = f"XDG_RUNTIME_DIR=/run/user/{self.uid(user)}"
        bus = f"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{self.uid(user)}/bus"
        return ["runuser", "-u", user, "--", "env", f"HOME=/home/{user}", f"USER={user}", runtime, bus]

    def shell(self, script: str, *, user: str = "", check: bool = True) -> str:
        return self.run("sh", "-c", script, user=user, check=check).stdout

    def uid(self, user: str) -> int:
        return int(
            next(
                line.split(":")[2]
                for line in (self.root / "etc/passwd").read_text().splitlines()
                if line.startswith(f"{user}:")
            )
        )

    def add_user(self, name: str) -> int:
        """An ordinary user whose systemd runs -> the uid."""
        self.run("useradd", "--create-home", "--shell", "/bin/bash", name)
        self.run("loginctl", "enable-linger", name)
        uid = self.uid(name)
        self.run("systemctl", "start", f"user@{uid}.service")
        return uid

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    # Its systemd and its system bus

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` has them."""
        shown = self.run("systemctl", "show", name, "--property=" + ",".join(properties)).stdout
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def journal(self, unit: str) -> str:
        self.run("journalctl", "--sync")  # what was logged until now
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def busctl(self, *args: str, user: str = "") -> Outcome:
        return self.run("busctl", "--json=short", f"--timeout={CALL_TIMEOUT}", *args, user=user, check=False)

    def call(
        self, member: str, signature: str = "", *args: object, user: str = "", path: str = ROOT
    ) -> list[Any]:
        """The values that `Interface.Member` of musterd answers."""
        interface, _, method = member.rpartition(".")
        done = self.busctl(
            "call",
            NAME,
            path,
            f"{NAME}.{interface or 'Manager'}",
            method,
            signature,
            *map(str, args),
            user=user,
        )
        assert done.status == 0, done.stderr
        return list(json.loads(done.stdout)["data"]) if done.stdout.strip() else []

    def get(self, prop: str, *, user: str = "", path: str = ROOT) -> Any:
        interface, _, name = prop.rpartition(".")
        done = self.busctl("get-property", NAME, path, f"{NAME}.{interface or 'Manager'}", name, user=user)
        assert done.status == 0, done.stderr
        return json.loads(done.stdout)["data"]


def hierarchies() -> list[Path]:
    """The cgroup that we are in, in each hierarchy that a systemd uses; the unified one first."""
    groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = {name: path[1:] for _, name, path in groups}
    mounted = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, (kind, _, options) = line.split(" ")[4], line.partition(" - ")[2].split(" ")
        if kind == "cgroup2":
            mounted[""] = place
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            mounted["name=systemd"] = place
    return [Path(mounted[name], own[name]) for name in sorted(mounted.keys() & own.keys())]


def _remove_group(group: Path) -> None:
    """With all processes that may be left in it."""
    if (kill := group / "cgroup.kill").exists():
        kill.write_text("1")
        events = group / "cgroup.events"
        until(lambda: "populated 0" in events.read_text(), "an end of all its processes", STOP_TIMEOUT)
    for below, _, _ in os.walk(group, topdown=False):
        os.rmdir(below)


def _child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0
