"""Who means ill on a machine that others share, whom that is tried against, and the daemon in between."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .machine import NAME, ROOT, UNIT, Machine
from .programs import until

PATIENCE = 240.0  # seconds, on a busy machine

PROGRAMS = "/usr/local/lib/hostile"

SYSTEM_BUS = "MUSTERD_BUS=unix:path=/run/dbus/system_bus_socket"

ALICE = "alicia"
THREAD = "thread-of-alice"
AGENT = "/usr/local/bin/codex"  # a `sleep` by that name

# What may change by itself.
GAUGES = {"Memory", "CPUUSec", "Tasks", "Verdict", "KeptBy"}

SEEN = """
set -e
exec 2>&1
call() {{ busctl --json=short --timeout=120 call "$@"; }}
get() {{ busctl --json=short --timeout=120 get-property {name} {root} "$@"; }}
call {name} {root}/session/{session} org.freedesktop.DBus.Properties GetAll s {name}.Session
call {name} {root} {name}.Manager ListEvents utts 100 0 0 {session}
call {name} {root} {name}.Manager ListInhibitors
call {name} {root} {name}.StopGate ListClaims
get {name}.Reaper Mode
get {name}.StopGate Mode
get {name}.StopGate KillSwitch
"""

MORE_FDS = 64  # than it had: callers that are remembered, wardens
MEMORY = 256 * 1024  # KiB; the service may have 512 MiB


@dataclass(frozen=True)
class Victim:
    """Alice's session; she goes on with her work."""

    machine: Machine
    session: str
    leader: int

    @property
    def warden(self) -> str:
        return f"musterd-warden@{self.machine.uid(ALICE)}.service"

    def warden_pid(self) -> int:
        return int(self.machine.unit(self.warden, "MainPID")["MainPID"])

    def goes_on(self) -> None:
        """She is answered, and all is as she left it."""
        verdict, kept_by, _ = self.machine.call("Reaper.Explain", "s", self.session, user=ALICE)
        assert (verdict, bool(kept_by)) == ("keep", True)
        assert [row[0] for row in self.machine.call("ListSessions", user=ALICE)[0]] == [self.session]

    def seen(self) -> tuple[object, ...]:
        """All that is hers, and nobody else may change."""
        script = SEEN.format(name=NAME, root=ROOT, session=self.session)
        lines = self.machine.shell(script, user=ALICE).splitlines()
        (values,), (events,), *others = (json.loads(line)["data"] for line in lines)
        kept = {name: value["data"] for name, value in values.items() if name not in GAUGES}
        return kept, [event for event in events if event[3] != "verdict"], others


@dataclass(frozen=True)
class Daemon:
    """The one that runs now."""

    machine: Machine
    pid: int
    fds: int

    @classmethod
    def of(cls, machine: Machine) -> "Daemon":
        unit = machine.unit(UNIT, "MainPID", "NRestarts")
        assert unit["NRestarts"] == "0"
        return cls(machine, int(unit["MainPID"]), open_files(machine, int(unit["MainPID"])))

    def is_well(self) -> None:
        """It is the same, holds no more than it may, and is on the bus by the name of before."""
        now = Daemon.of(self.machine)
        assert now.pid == self.pid
        until(lambda: open_files(self.machine, self.pid) < self.fds + MORE_FDS, "its fds", PATIENCE)
        status = (self.machine.root / f"proc/{self.pid}/status").read_text()
        (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak < MEMORY
        self.machine.run("journalctl", "--sync")
        log = self.machine.run("journalctl", "--no-pager", "--output=cat", f"_PID={self.pid}").stdout
        assert log
        assert "Traceback" not in log
        assert "the bus closed the connection" not in log


def text(machine: Machine, path: str) -> str:
    """Of a file that somebody may be about to write."""
    with suppress(FileNotFoundError):
        return (machine.root / path[1:]).read_text()
    return ""


def open_files(machine: Machine, pid: int) -> int:
    return len(list((machine.root / f"proc/{pid}/fd").iterdir()))


@dataclass
class Mallory:
    """Who attacks."""

    machine: Machine
    name: str
    uid: int
    _units: list[str] = field(default_factory=list)

    @property
    def home(self) -> str:
        return f"/home/{self.name}"

    @property
    def warden(self) -> str:
        return f"musterd-warden@{self.uid}.service"

    def warden_pid(self) -> int:
        return int(self.machine.unit(self.warden, "MainPID")["MainPID"])

    def does(self, attack: str, *args: object) -> Any:
        """To the end -> what came of it."""
        words = ("python3", f"{PROGRAMS}/hostile.py", attack, *map(str, args))
        return json.loads(self.machine.run(*words, user=self.name).stdout)

    def begins(self, attack: str, *args: object, **properties: str) -> int:
        """It goes on until the end of the test -> its pid."""
        return self.starts("python3", f"{PROGRAMS}/hostile.py", attack, *args, Type="notify", **properties)

    def starts(self, *command: object, **properties: str) -> int:
        """A program, in a unit of its own -> its pid."""
        unit = f"{self.name}-{len(self._units)}.service"
        given = {"Type": "exec", "KillSignal": "SIGKILL", "NotifyAccess": "all"} | properties
        options = [f"--property={name}={value}" for name, value in given.items()]
        start = ("systemd-run", "--quiet", "--collect", f"--uid={self.name}", f"--unit={unit}", *options)
        self._units.append(unit)
        self.machine.run(*start, "--", *map(str, command))
        return int(self.machine.unit(unit, "MainPID")["MainPID"])

    def tries(self, member: str, signature: str = "", *args: object) -> str:
        """A call of musterd -> why it was refused; empty if it was not."""
        interface, _, method = member.rpartition(".")
        call = ("call", NAME, ROOT, f"{NAME}.{interface or 'Manager'}", method, signature, *map(str, args))
        options = ("--allow-interactive-authorization=no", *call)
        return self.machine.busctl(*options, user=self.name).stderr.strip()

    def registers(self, pid: int, **spec: str) -> str:
        words = [word for key, value in spec.items() for word in (key, "s", value)]
        session_id, _ = self.machine.call(
            "RegisterSession", "a{sv}", 1 + len(spec), "pid", "u", pid, *words, user=self.name
        )
        return str(session_id)

    def gates(self, session: str) -> dict[str, tuple[str, str]]:
        """What is found about it; it is kept."""
        verdict, _, gates = self.machine.call("Reaper.Explain", "s", session, user=self.name)
        assert verdict == "keep"
        return {name: (outcome, text) for name, outcome, _, text in gates}

    def leaves(self) -> None:
        for unit in (*self._units, self.warden):
            self.machine.run("systemctl", "stop", unit, check=False)
        self.machine.run("systemctl", "reset-failed", check=False)


def equip(machine: Machine) -> None:
    """With programs that anybody may run."""
    machine.run("mkdir", "--parents", PROGRAMS)
    for name in ("hostile.py", "bad_tmux.py", "greedy.py", "warden_by_hand.py"):
        machine.write(f"{PROGRAMS}/{name}", (Path(__file__).parent / name).read_text())
