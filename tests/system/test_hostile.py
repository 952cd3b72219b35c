"""What a user who means ill may try on a machine that others share, and what comes of it: nothing.

One daemon and one session of Alice's live through all of it. Whoever attacks is another user each time.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from helpers.machine import NAME, ROOT, Machine
from helpers.programs import until
from system.conftest import start_anew
from system.test_service import UNIT

PATIENCE = 120.0  # seconds, on a busy machine

HELPERS = Path(__file__).parents[1] / "helpers"
PROGRAMS = "/usr/local/lib/hostile"

ALICE = "alicia"
THREAD = "thread-of-alice"
AGENT = "/usr/local/bin/codex"  # a `sleep` by that name

# Agents are looked for at once, not twice a minute.
EAGER = '[discovery]\nenabled = true\ninterval = "1s"\n'
CONFIG = "/etc/musterd/musterd.toml.d/eager.toml"

# What may change by itself.
GAUGES = {"Memory", "CPUUSec", "Tasks", "Verdict", "KeptBy"}

SEEN = """
set -e
exec 2>&1
call() {{ busctl --json=short call "$@"; }}
get() {{ busctl --json=short get-property {name} {root} "$@"; }}
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


@pytest.fixture(scope="module")
def stage(installed: Machine) -> Iterator[Machine]:
    """The daemon as shipped, with programs that anybody may run."""
    installed.run("mkdir", "--parents", PROGRAMS)
    for name in ("hostile.py", "bad_tmux.py", "greedy.py", "warden_by_hand.py"):
        installed.write(f"{PROGRAMS}/{name}", (HELPERS / name).read_text())
    installed.run("cp", "/usr/bin/sleep", AGENT)
    installed.write(CONFIG, EAGER)
    start_anew(installed)
    yield installed
    installed.run("rm", CONFIG)
    start_anew(installed)


@pytest.fixture(scope="module")
def alice(stage: Machine) -> Iterator[Victim]:
    """With an agent in a scope of its own, and a conversation that others might like to have."""
    stage.add_user(ALICE)
    run = ("systemd-run", "--user", "--quiet", "--collect", "--property=Type=exec")
    stage.run(*run, "--", "musterctl", "run", "--", AGENT, "4711", user=ALICE)
    (row,) = until(lambda: stage.call("ListSessions", user=ALICE)[0], "Alice's session", PATIENCE)
    pid = stage.get("Session.Leader", path=row[-1])
    spec = ("pid", "u", pid, "agent-session-id", "s", THREAD, "title", "s", "Alice's own")
    stage.call("RegisterSession", "a{sv}", 3, *spec, user=ALICE)
    stage.call("SetProtected", "sb", row[0], "true", user=ALICE)
    stage.call("StopGate.Claim", "a{sv}", 2, "session", "s", row[0], "task", "s", "hers", user=ALICE)
    yield Victim(stage, row[0], pid)
    stage.run("systemctl", "--user", "stop", "musterd-*.scope", user=ALICE)


@pytest.fixture(scope="module")
def daemon(stage: Machine, alice: Victim) -> Daemon:
    return Daemon.of(stage)


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def mallory(stage: Machine, alice: Victim, daemon: Daemon, numbers: Iterator[int]) -> Iterator[Mallory]:
    """Whatever they do: nothing of Alice's changes, and the daemon is the same, and well."""
    name = f"mallory{next(numbers)}"
    stage.run("useradd", "--create-home", "--shell", "/bin/bash", name)
    before = alice.seen()
    attacker = Mallory(stage, name, stage.uid(name))
    try:
        yield attacker
        alice.goes_on()
    finally:
        attacker.leaves()
    assert alice.seen() == before
    daemon.is_well()


# Other people's processes


def strangers(machine: Machine, alice: Victim, daemon: Daemon) -> dict[str, tuple[str, int]]:
    return {
        "the first process": ("u", 1),
        "Alice's agent": ("u", alice.leader),
        "the daemon": ("u", daemon.pid),
        "Alice's warden": ("u", warden_of_alice(machine)),
        "a process that is not there": ("u", 4_194_000),
        "a number that no process has": ("u", 2**32 - 1),
        "a negative number": ("i", -1),
        "a long number": ("t", 2**63),
        "a text": ("s", 1),
        "yes": ("b", 1),
    }


def warden_of_alice(machine: Machine) -> int:
    return int(machine.unit(f"musterd-warden@{machine.uid(ALICE)}.service", "MainPID")["MainPID"])


def test_process_of_somebody_else_or_of_nobody_is_not_registered(
    mallory: Mallory, alice: Victim, daemon: Daemon
) -> None:
    for case, (kind, pid) in strangers(mallory.machine, alice, daemon).items():
        assert mallory.tries("RegisterSession", "a{sv}", 1, "pid", kind, pid), case
    for spec in (("agent-session-id", "s", THREAD), ("host", "s", "far")):  # of others, and of other hosts
        alone = ("RegisterSession", "a{sv}", 2, "pid", "u", alice.leader, *spec)
        if "host" not in spec:
            assert mallory.tries(*alone)
    assert mallory.machine.call("ListSessions", user=mallory.name) == [[]]


def test_hook_that_speaks_of_a_session_of_another_user_is_heard_about_none(
    mallory: Mallory, alice: Victim
) -> None:
    payload = json.dumps({"session_id": THREAD, "id": THREAD, "thread_id": THREAD, "cwd": f"/home/{ALICE}"})
    for agent in ("codex", "claude-code", "pi", "gemini", "opencode"):
        for event in ("stop", "Stop", "turn-start", "SessionStart", "SessionEnd", "turn_end"):
            assert mallory.tries("ReportEvent", "sss", agent, event, payload), (agent, event)
    assert "NoSuchSession" not in mallory.tries("GetSession", "s", alice.session)
    for member in (
        ("GetSessionByAgentSession", "ss", "codex", THREAD),
        ("GetSessionByPID", "u", alice.leader),
        ("Inhibit", "sssss", "reap:stop", "mallory", "mine", "block", alice.session),
        ("StopGate.Claim", "a{sv}", 2, "session", "s", alice.session, "task", "s", "mine"),
        ("Heartbeat", "s", alice.session),
        ("ResumeSession", "s", alice.session),
    ):
        assert mallory.tries(*member), member


def test_claim_of_another_user_is_nobody_elses(mallory: Mallory, alice: Victim) -> None:
    ((claim, *_),) = mallory.machine.call("StopGate.ListClaims", user=ALICE)[0]
    assert mallory.tries("StopGate.UpdateClaim", "sa{sv}", claim, 1, "done", "b", "true")
    assert mallory.tries("StopGate.ReleaseClaim", "s", claim)
    assert mallory.machine.call("StopGate.ListClaims", user=mallory.name) == [[]]


def test_mark_of_another_user_s_session_makes_a_session_of_one_s_own(
    mallory: Mallory, alice: Victim
) -> None:
    pid = mallory.starts("env", f"MUSTERD_SESSION={alice.session}", "sleep", "4715")
    assert mallory.registers(pid) != alice.session


# Files that are not what they seem to be


def link_to_secrets(mallory: Mallory, file: str) -> None:
    mallory.machine.run("ln", "-s", "/etc/shadow", file, user=mallory.name)


def huge_and_hollow(mallory: Mallory, file: str) -> None:
    mallory.machine.run("truncate", "--size=10G", file, user=mallory.name)


def pipe(mallory: Mallory, file: str) -> None:
    mallory.machine.run("mkfifo", file, user=mallory.name)


def directory(mallory: Mallory, file: str) -> None:
    mallory.machine.run("mkdir", file, user=mallory.name)


def endless_device(mallory: Mallory, file: str) -> None:
    mallory.machine.run("ln", "-s", "/dev/zero", file, user=mallory.name)


def file_of_alice(mallory: Mallory, file: str) -> None:
    mallory.machine.shell(f"echo '{{}}' >{file} && chown {ALICE} {file}")


def file_that_hangs(mallory: Mallory, file: str) -> None:
    mallory.begins("lease", file)


def link_every_other_moment(mallory: Mallory, file: str) -> None:
    mallory.begins("swap", file, "/etc/shadow")


@pytest.mark.parametrize(
    "make",
    [
        link_to_secrets,
        huge_and_hollow,
        pipe,
        directory,
        endless_device,
        file_of_alice,
        file_that_hangs,
        link_every_other_moment,
    ],
    ids=lambda make: make.__name__,
)
def test_transcript_that_is_hostile_says_nothing_and_is_opened_by_nobody_else(
    mallory: Mallory, alice: Victim, daemon: Daemon, make: Callable[[Mallory, str], None]
) -> None:
    file = f"{mallory.home}/transcript.jsonl"
    make(mallory, file)
    session = mallory.registers(mallory.starts("sleep", "4716"), agent="codex", transcript=file)
    for _ in range(3 if make is link_every_other_moment else 1):
        outcome, text = mallory.gates(session)["transcript"]
        assert outcome != "pass"
        assert "root:" not in text
        alice.goes_on()
    names = mallory.machine.shell(f"readlink /proc/{daemon.pid}/fd/* || true").splitlines()
    assert [name for name in names if "/home/" in name or "shadow" in name or "zero" in name] == []


# Terminals, names, texts


@pytest.mark.parametrize("way", ["hang", "flood", "garbage"])
def test_tmux_server_that_misbehaves_costs_its_user_a_veto_and_nobody_anything(
    mallory: Mallory, alice: Victim, way: str
) -> None:
    socket = f"{mallory.home}/tmux"
    mallory.starts("python3", f"{PROGRAMS}/bad_tmux.py", socket, way)
    until(lambda: (mallory.machine.root / socket[1:]).exists(), "a socket", PATIENCE)
    pid = mallory.starts("sleep", "4717")
    session = mallory.registers(pid, agent="codex", terminal=f"tmux:{socket}:%1")
    assert mallory.gates(session)["present"][0] != "pass"
    alice.goes_on()


def test_tmux_socket_of_another_user_is_not_talked_to(mallory: Mallory) -> None:
    mallory.machine.run("mkdir", "--parents", "/run/alice")
    socket = "/run/alice/tmux"
    mallory.machine.shell(
        f"python3 {PROGRAMS}/bad_tmux.py {socket} hang </dev/null >/dev/null 2>&1 & echo $! >/run/alice/pid"
    )
    until(lambda: (mallory.machine.root / socket[1:]).exists(), "a socket", PATIENCE)
    try:
        mallory.machine.run("chmod", "777", socket)
        pid = mallory.starts("sleep", "4718")
        session = mallory.registers(pid, agent="codex", terminal=f"tmux:{socket}:%1")
        assert f"is not a socket of user {mallory.uid}" in str(mallory.gates(session))
    finally:
        mallory.machine.shell("kill $(cat /run/alice/pid); rm -r /run/alice")


SYSTEM_BUS = "MUSTERD_BUS=unix:path=/run/dbus/system_bus_socket"

# Becomes a program with a megabyte of words.
WORDY = "import os, sys; os.execv(sys.argv[1], [sys.argv[2] + 'codex', '4719', *['0' * 99999] * 9])"

CLEAR = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2028"
FORGED = f"\r\n{'x' * 6}  codex  root  busy\nmusterd: session 'abcdef' ended: reaped"


def test_what_a_user_writes_reaches_no_terminal_of_root_and_no_line_of_the_log(
    mallory: Mallory, alice: Victim
) -> None:
    title = CLEAR + FORGED
    program = f"{mallory.home}/codex{CLEAR}"
    mallory.machine.run("cp", AGENT, program, user=mallory.name)
    pid = mallory.starts("python3", "-c", WORDY, program, CLEAR)
    session = mallory.registers(pid, agent="codex", title=title, **{"agent-session-id": title})
    claim = ("a{sv}", 2, "session", "s", session, "task", "s", title)
    mallory.machine.call("StopGate.Claim", *claim, user=mallory.name)
    mallory.machine.call("Inhibit", "sssss", "reap", title, title, "block", session, user=mallory.name)
    for verb in (("list",), ("status", session), ("explain", session), ("claim", "list"), ("events",)):
        shown = mallory.machine.run("musterctl", "--no-pager", *verb).stdout
        assert {char for char in shown if not char.isprintable()} <= {"\n"}, verb
        assert not [line for line in shown.splitlines() if line.startswith(("musterd:", "xxxxxx"))], verb
    listed = json.loads(mallory.machine.run("musterctl", "--json", "list").stdout)
    assert sorted(row["Id"] for row in listed if row["UID"] == mallory.uid) == [session]
    log = mallory.machine.journal(UNIT)
    assert "\x1b" not in log
    assert not [line for line in log.splitlines() if line.startswith(("musterd:", "xxxxxx"))]
    assert "owned" not in mallory.machine.unit(UNIT, "StatusText")["StatusText"]


def test_crowd_of_agents_is_enrolled_up_to_the_limit_and_holds_up_nobody(
    mallory: Mallory, alice: Victim
) -> None:
    mallory.begins("crowd", AGENT, 300)  # each with 60 kB of words

    def enrolled() -> int:
        (rows,) = mallory.machine.call("ListSessions", user=mallory.name)
        alice.goes_on()
        return len(rows)

    until(lambda: enrolled() == 200, "as many as one user may have", PATIENCE)
    assert "LimitReached" in mallory.tries("RegisterSession", "a{sv}", 0) or enrolled() == 200


def test_who_has_as_many_processes_as_may_be_harms_only_oneself(mallory: Mallory, alice: Victim) -> None:
    mallory.begins("bomb", LimitNPROC="200")
    mallory.tries("RegisterSession", "a{sv}", 0)
    for _ in range(3):
        alice.goes_on()


# Floods


def test_inhibitors_exhaust_neither_the_daemon_nor_others(
    mallory: Mallory, alice: Victim, daemon: Daemon
) -> None:
    greedy = f"PYTHONPATH=/usr/lib/musterd exec python3 {PROGRAMS}/greedy.py 400 >{mallory.home}/said"
    mallory.starts("sh", "-c", greedy, Environment=SYSTEM_BUS)
    said = f"{mallory.home}/said"
    until(lambda: "LimitReached" in text(mallory.machine, said), "a limit", PATIENCE)
    assert open_files(mallory.machine, daemon.pid) < daemon.fds + 300 + MORE_FDS
    alice.goes_on()
    mallory.machine.call("Inhibit", "sssss", "reap", "alice", "why not", "block", "", user=ALICE)


@pytest.mark.parametrize("attack", ["calls", "bodies"])
def test_flood_of_calls_leaves_room_for_others(mallory: Mallory, alice: Victim, attack: str) -> None:
    mallory.begins(attack, 8, 3)
    for _ in range(3):
        alice.goes_on()


def test_flood_of_imposters_does_not_keep_others_from_their_wardens(mallory: Mallory, alice: Victim) -> None:
    warden = f"musterd-warden@{mallory.machine.uid(ALICE)}.service"
    mallory.begins("calls", 8, 3, f"{NAME}.Wardens", "Attach")
    mallory.machine.run("systemctl", "stop", warden)
    explain = ("call", NAME, ROOT, f"{NAME}.Reaper", "Explain", "s", alice.session)
    until(lambda: mallory.machine.busctl(*explain, user=ALICE).status == 0, "Alice's warden", PATIENCE)


def test_flood_of_match_rules_by_who_does_not_read_costs_nobody_anything(
    mallory: Mallory, alice: Victim
) -> None:
    mallory.begins("matches", 2)
    own = mallory.registers(mallory.starts("sleep", "4720"))
    for wish in ("true", "false") * 3:
        mallory.machine.call("SetProtected", "sb", own, wish, user=mallory.name)
    alice.goes_on()


def test_flood_of_activations_starts_nothing(mallory: Mallory) -> None:
    assert mallory.does("activations", 2000) == "ok:"


# Messages


def test_huge_messages_are_refused_unread(mallory: Mallory, alice: Victim) -> None:
    said = mallory.does("huge")
    assert [answer for answer in said if "that is too much" not in answer] == []


def test_message_as_deep_as_the_bus_allows_is_refused(mallory: Mallory) -> None:
    said = mallory.does("deep")
    assert [answer for answer in said if answer.startswith("ok")] == []


def test_messages_that_no_library_would_send_are_refused_or_end_who_sent_them(mallory: Mallory) -> None:
    said = mallory.does("odd")
    assert said.pop("endless path") in ("ok:", "awa")
    assert [case for case, answer in said.items() if answer.startswith("ok")] == []
    assert [case for case, answer in said.items() if "Internal error" in answer] == []


# Names, signals, wardens


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


def test_process_that_systemd_did_not_start_as_a_warden_is_none(mallory: Mallory, alice: Victim) -> None:
    attach = ("busctl", "call", NAME, ROOT, f"{NAME}.Wardens", "Attach")
    for user in (mallory.name, ALICE, ""):
        assert "is not the warden of user" in mallory.machine.run(*attach, user=user, check=False).stderr
    alice.goes_on()


# Ends that process of the unit again and again, and counts.
KILLER = """
for n in $(seq 100000); do
    pid=$(systemctl show --property=MainPID --value {unit})
    [ "$pid" = 0 ] || {{ kill -KILL "$pid" && echo >>{count}; }}
done
"""


def test_who_kills_their_own_warden_again_and_again_harms_nobody_else(
    mallory: Mallory, alice: Victim
) -> None:
    session = mallory.registers(mallory.starts("sleep", "4721"))
    before = warden_of_alice(mallory.machine)
    killed = f"{mallory.home}/killed"
    mallory.starts("sh", "-c", KILLER.format(unit=mallory.warden, count=killed))

    def is_enough() -> bool:
        alice.goes_on()
        result = mallory.machine.unit(mallory.warden, "Result")["Result"]
        return result == "start-limit-hit" or len(text(mallory.machine, killed)) >= 5

    until(is_enough, "its end, several times", PATIENCE)
    assert [row[0] for row in mallory.machine.call("ListSessions", user=mallory.name)[0]] == [session]
    assert warden_of_alice(mallory.machine) == before


def test_warden_that_is_killed_in_the_middle_of_an_end_leaves_the_session_in_peace(
    mallory: Mallory, alice: Victim
) -> None:
    pid = mallory.begins("stubborn")
    session = mallory.registers(pid)
    call = ("call", NAME, ROOT, f"{NAME}.Manager", "TerminateSession", "ss", session, "enough")
    mallory.starts("busctl", *call)
    path = f"{ROOT}/session/{session}"
    until(lambda: mallory.machine.get("Session.State", path=path) == "stopping", "its end", PATIENCE)
    mallory.machine.run("kill", "-KILL", str(mallory.warden_pid()), user=mallory.name)
    until(lambda: mallory.machine.get("Session.State", path=path) != "stopping", "a way out", PATIENCE)
    alice.goes_on()


def test_stopped_warden_degrades_its_own_user_and_nobody_else(mallory: Mallory, alice: Victim) -> None:
    session = mallory.registers(mallory.starts("sleep", "4722"))
    mallory.machine.run("kill", "-STOP", str(mallory.warden_pid()), user=mallory.name)
    try:
        mallory.starts("busctl", "call", NAME, ROOT, f"{NAME}.Reaper", "ListVerdicts")
        for _ in range(3):
            alice.goes_on()
        assert mallory.tries("Reaper.Explain", "s", session)
    finally:
        mallory.machine.run("kill", "-CONT", str(mallory.warden_pid()), user=mallory.name)


def test_who_takes_over_their_own_warden_is_believed_about_themselves_alone(
    mallory: Mallory, alice: Victim
) -> None:
    """As with ptrace(2): what was theirs before stays all that is theirs."""
    own = mallory.registers(mallory.starts("sleep", "4723"))
    with taken_over(mallory) as says:
        says({"hello": mallory.machine.get("Version")})
        until(lambda: "welcome" in says.heard(), "a welcome", PATIENCE)
        says({"event": {"@": "Gone", "session": alice.session}})
        until(lambda: "is none of its user's" in mallory.machine.journal(UNIT), "disbelief", PATIENCE)
    assert [row[0] for row in mallory.machine.call("ListSessions", user=mallory.name)[0]] == [own]


GROUPS = "/sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd"  # where they may be mounted


class Says:
    def __init__(self, machine: Machine, folder: str) -> None:
        self._machine, self._folder = machine, folder
        self._pipe = (machine.root / folder[1:] / "in").open("w")

    def __call__(self, message: object) -> None:
        self._pipe.write(json.dumps(message) + "\n")
        self._pipe.flush()

    def begin(self) -> None:
        self._pipe.write("!")
        self._pipe.flush()

    def heard(self) -> str:
        return text(self._machine, f"{self._folder}/out")

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._pipe.close()


@contextmanager
def taken_over(mallory: Mallory) -> Iterator[Says]:
    """A program of theirs within the unit of their warden, which has let go of the line."""
    folder = f"{mallory.home}/line"
    mallory.machine.shell(f"mkdir {folder} && mkfifo {folder}/in", user=mallory.name)
    by_hand = f"PYTHONPATH=/usr/lib/musterd python3 {PROGRAMS}/warden_by_hand.py"
    shell = mallory.starts(
        "sh", "-c", f"{by_hand} <>{folder}/in >{folder}/out & wait", Environment=SYSTEM_BUS
    )
    children = mallory.machine.root / f"proc/{shell}/task/{shell}/children"
    pid = until(
        lambda: children.read_text().strip(), "a program", PATIENCE
    )  # systemd knows the shell by its pid
    group = mallory.machine.unit(mallory.warden, "ControlGroup")["ControlGroup"]
    move = f"""[ ! -d $at'{group}' ] || echo {pid} >$at'{group}/cgroup.procs'"""
    mallory.machine.shell(f"for at in {GROUPS}; do {move}; done")
    says = Says(mallory.machine, folder)
    try:
        says.begin()
        until(says.heard, "a line, or none", PATIENCE)
        assert says.heard() == "attached\n"
        yield says
    finally:
        says.close()
