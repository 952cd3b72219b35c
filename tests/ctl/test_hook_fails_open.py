"""`musterd-hook` when something is wrong: the agent goes on, in time, and the log has one line."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import pytest

from helpers.daemon import Daemon
from helpers.hook import FakeDaemon, Hook, Said, fake_daemon
from helpers.installation import Installation
from helpers.private_bus import DBusDaemon, PrivateBus
from helpers.programs import until
from musterd.agents.catalog import ADAPTERS
from musterd.core.session import Agent

NOTHING = Said(0, b"{}", b"")  # codex
SOON = {"MUSTERD_HOOK_TIMEOUT": "0.3"}  # without it a test would only take longer
LATE = "no answer within 0.3 s"
SHELLS = {"dash": ["/bin/dash"], "bash": ["/bin/bash", "--posix"]}


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DBusDaemon]:
    with DBusDaemon(tmp_path_factory.mktemp("bus") / "bus") as bus:
        yield bus


@pytest.fixture
def fake(bus: DBusDaemon) -> Iterator[FakeDaemon]:
    with fake_daemon(bus.address) as fake:
        yield fake


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path, bus: DBusDaemon) -> Hook:
    return Hook(tmp_path, bus.address, SHELLS[request.param])


def events_of(agent: Agent) -> list[str]:
    module = import_module(type(ADAPTERS[agent]).__module__)
    return [*getattr(module, "_HOOKS", ()), "NoSuchEvent"]


@pytest.mark.parametrize("agent", ADAPTERS)
def test_nothing_to_say_is_what_the_adapter_has(tmp_path: Path, agent: Agent) -> None:
    hook = Hook(tmp_path, f"unix:path={tmp_path}/nowhere")
    said = {event: hook(agent, event) for event in events_of(agent)}
    assert said == {event: Said(0, ADAPTERS[agent].nothing_to_say(event).encode(), b"") for event in said}


@pytest.mark.parametrize(
    ("case", "reply", "reason"),
    [
        ("it refuses", {"error": "No, for once."}, "Call failed: No, for once."),
        ("it refuses in many lines", {"error": "No,\n\x1b[31mfor once.\n"}, "Call failed: No,?"),
        ("it says nothing", {"is_silent": True}, LATE),
        ("another signature", {"signature": "s", "body": ["{}"]}, "the reply is none that is known"),
        ("more than was asked for", {"signature": "bss", "body": [True, "a", "b"]}, "the reply is none"),
        ("another order", {"signature": "sb", "body": ["x", True]}, "the reply is none that is known"),
        ("no values", {"signature": "", "body": []}, "the reply is none that is known"),
        ("a struct", {"signature": "(bs)", "body": [[True, "a"]]}, "the reply is none that is known"),
        ("very much", {"signature": "bs", "body": [True, "x" * 2_000_000]}, "the reply is too long"),
    ],
)
def test_a_daemon_with_an_answer_that_is_none(
    fake: FakeDaemon, hook: Hook, case: str, reply: dict[str, object], reason: str
) -> None:
    for name, value in reply.items():
        setattr(fake, name, value)
    limit = SOON if LATE in reason else {}
    assert hook("codex", "Stop", environ=limit) == NOTHING, case
    (line,) = hook.logged
    assert line.startswith(f"-t musterd-hook -p user.warning -- Hook not reported ({reason}")
    assert line.endswith("), ignoring")


def test_no_daemon(hook: Hook) -> None:
    assert hook("codex", "Stop") == NOTHING
    assert len(hook.logged) == 1


@contextmanager
def listener(path: Path, answer: bytes | None) -> Iterator[str]:
    """A socket that is no bus: it answers nothing, or something, to whoever comes."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            with suppress(OSError):
                peer, _ = server.accept()
                peer.sendall(answer or b"")
                peer.close()

        thread = threading.Thread(target=serve) if answer is not None else None
        if thread:
            thread.start()
        try:
            yield f"unix:path={path}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            if thread:
                thread.join()


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"OK\r\n\0\xff" * 1000])
def test_a_bus_that_is_none(hook: Hook, tmp_path: Path, answer: bytes | None) -> None:
    with listener(tmp_path / "socket", answer) as address:
        assert hook("codex", "Stop", environ={"MUSTERD_BUS": address, **SOON}) == NOTHING
    assert len(hook.logged) == 1
    assert answer is not None or LATE in hook.logged[0]


@pytest.mark.parametrize(
    "address", ["nonsense", "unix:path=/nowhere", "--help", "tcp:host=127.0.0.1,port=1"]
)
def test_an_address_that_leads_nowhere(hook: Hook, address: str) -> None:
    assert hook("--bus", address, "codex", "Stop") == NOTHING
    assert len(hook.logged) == 1


def test_a_bus_that_is_stopped(hook: Hook, bus: DBusDaemon) -> None:
    bus.signal(signal.SIGSTOP)
    try:
        assert hook("codex", "Stop", environ=SOON) == NOTHING
    finally:
        bus.signal(signal.SIGCONT)
    assert LATE in hook.logged[0]


def test_a_daemon_that_is_stopped(private_bus: PrivateBus, tmp_path: Path) -> None:
    hook = Hook(tmp_path, private_bus.address)
    with Daemon(tmp_path, private_bus) as daemon:
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            assert hook("codex", "Stop", environ=SOON) == NOTHING
        finally:
            daemon.process.send_signal(signal.SIGCONT)
    assert LATE in hook.logged[0]


@pytest.fixture
def codex(musterd: Installation) -> Iterator[str]:
    """This very process as a session: what its hooks say is heard."""
    outcome = musterd.ctl("register", "--agent", "codex", "--pid", str(os.getpid()))
    session_id = outcome.stdout.strip()
    assert session_id, outcome
    yield session_id
    musterd.ctl("release", session_id)


UNUSABLE = {
    "nothing": b"",
    "blank": b"\n\n\n",
    "not JSON": b"{",
    "cut off": b'{"session_id": "0199a213-81c0',
    "not UTF-8": b'{"a": "\xff"}',
    "NULs": b"\0" * 1000,
    "too large": b'{"a": "' + b"x" * (256 * 1024) + b'"}',
    "large and not JSON": b"x" * (200 * 1024),
    "endless": b"x" * (64 * 1024 * 1024),
    "nested too deeply": b"[" * 100_000 + b"]" * 100_000,
}


def test_input_that_cannot_be_used(musterd: Installation, hook: Hook, codex: str) -> None:
    here = {"MUSTERD_BUS": musterd.bus}
    said = {case: hook("codex", "Stop", stdin=payload, environ=here) for case, payload in UNUSABLE.items()}
    assert said == dict.fromkeys(UNUSABLE, NOTHING)
    assert len(hook.logged) + hook.ways == len(UNUSABLE)
    assert musterd.json("status", codex)["LastHookUSec"] == 0
    assert hook("codex", "Stop", stdin=b"{}", environ=here) == NOTHING
    assert musterd.json("status", codex)["LastHookUSec"] > 0  # what can be used is heard


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["codex"],
        ["codex", "Stop", "--nonsense"],
        ["codex", "Stop", "more"],
        ["--user", "--system", "codex", "Stop"],
        ["codex", "Stop", "--bus"],
        ["", ""],
    ],
)
def test_wrong_use_is_silent(hook: Hook, args: list[str]) -> None:
    assert hook(*args) == Said(0, b"", b"")
    assert "called wrongly" in hook.logged[0]


def test_an_agent_that_nobody_knows(musterd: Installation, hook: Hook) -> None:
    assert hook("hal", "Stop", environ={"MUSTERD_BUS": musterd.bus}) == Said(0, b"", b"")


def test_an_agent_that_never_closes_the_input(fake: FakeDaemon, hook: Hook) -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            hook.command("codex", "Stop"), stdin=reader, capture_output=True, env={**hook.environ, **SOON},
            timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(reader)
        os.close(writer)
    assert Said(done.returncode, done.stdout, done.stderr) == NOTHING
    assert LATE in hook.logged[0]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full"])
def test_an_agent_that_opens_less_than_usual(fake: FakeDaemon, hook: Hook, closed: str) -> None:
    fake.says("said")
    script = f"{shlex.join(hook.command('codex', 'Stop'))} {closed}; echo $?"
    done = subprocess.run(
        ["sh", "-c", script], input=b"{}", capture_output=True, env={**hook.environ, **SOON},
        timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].removeprefix(b"said").removeprefix(b"{}") == b"0"
    assert done.stderr == b""


def test_an_agent_that_reads_no_more(fake: FakeDaemon, hook: Hook) -> None:
    fake.says("x" * 200_000)
    command = hook.command("codex", "Stop")
    with subprocess.Popen(
        command, env=hook.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.close()
        _, errors = process.communicate(b"{}", timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_nothing_of_it_is_found_on_the_path(hook: Hook) -> None:
    assert hook("codex", "Stop", environ={"PATH": "/nowhere"}) == NOTHING


def test_the_slow_path_fails(hook: Hook) -> None:
    hook.add("musterctl", "#!/nowhere\n")
    assert hook("codex", "Stop", environ={"MUSTERD_HOOK_PRIVATE": "1"}) == NOTHING
    assert "musterctl failed" in hook.logged[0]


def test_a_log_that_takes_nothing_is_not_waited_for(hook: Hook) -> None:
    hook.add("logger", "#!/bin/sh\nexec sleep 600\n")
    (hook.bin / "timeout").unlink()
    assert hook("codex", "Stop") == NOTHING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_agent_that_ends_its_hook(fake: FakeDaemon, hook: Hook, number: int) -> None:
    """The whole group, as an agent that is interrupted does."""
    fake.is_silent = True
    with subprocess.Popen(
        hook.command("codex", "Stop"), env=hook.environ, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin
        process.stdin.write(b"{}")
        process.stdin.close()
        until(lambda: fake.told, "the daemon was asked")
        os.killpg(process.pid, number)
        assert process.stdout
        assert process.stderr
        said = Said(process.wait(90), process.stdout.read(), process.stderr.read())
    assert said == NOTHING


SITUATIONS: dict[str, Callable[[FakeDaemon], None]] = {
    "it answers": lambda fake: fake.says("{}"),
    "it is silent": lambda fake: setattr(fake, "is_silent", True),
    "it refuses": lambda fake: setattr(fake, "error", "No."),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_it_leaves_no_process(fake: FakeDaemon, hook: Hook, situation: str) -> None:
    SITUATIONS[situation](fake)
    mark = uuid.uuid4().hex
    for _ in range(5):
        hook("codex", "Stop", environ={**SOON, "MARK": mark})
        assert marked(mark) == []


def marked(mark: str) -> list[str]:
    """Command lines of all processes that have it in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


# The first process of its own machine, as it were: it is given the guard of the hook that it kills. What the
# guard waits for is over when somebody opens the clock.
RECYCLE = """
import os, subprocess, sys

def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return file.read().split()
    except (FileNotFoundError, ProcessLookupError):
        return []

clock, *command = sys.argv[1:]
hook = subprocess.Popen(command, stdin=subprocess.PIPE)
while not (guards := [pid for pid in children(hook.pid) if children(pid)]):
    pass
hook.kill()
hook.wait()
with open("/proc/sys/kernel/ns_last_pid", "w") as last:
    last.write(str(hook.pid - 1))
other = subprocess.Popen(["sh", "-c", "/bin/sleep 600 & echo; wait"], stdout=subprocess.PIPE)
assert other.pid == hook.pid, (other.pid, hook.pid)
other.stdout.readline()
open(clock, "w").close()
os.waitpid(int(guards[0]), 0)
print(other.poll(), len(children(other.pid)))
"""


def test_a_hook_that_was_killed_takes_nobody_along_who_has_its_number(hook: Hook, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    os.mkfifo(clock)
    hook.add("sleep", f"#!/bin/sh\nread -r tick <{clock}\nexit 0\n")
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*unshare, sys.executable, "-c", RECYCLE, str(clock), *hook.command("codex", "Stop")],
        capture_output=True, env=hook.environ, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (b"None 1\n", 0), done.stderr


def test_the_common_path_starts_no_more_than_it_has_to(
    fake: FakeDaemon, tmp_path: Path, bus: DBusDaemon
) -> None:
    """What it costs is what it starts: itself, a clock and who watches it, who reads stdin, and busctl."""
    hook = Hook(tmp_path, bus.address)
    fake.says('{"decision": "block", "reason": "100% of \\"x\\""}', block=True)
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=execve,fork,vfork,clone,clone3"]
    subprocess.run(
        [*strace, *hook.command("codex", "Stop")], input=b"{}", env={**hook.environ, "PATH": os.defpath},
        check=True, capture_output=True,
    )  # fmt: skip
    started = re.findall(r'^\d+ +execve\("[^"\n]*/([^"/\n]+)"', trace.read_text(), re.MULTILINE)
    forked = re.findall(r"^\d+ +(?:v?fork|clone3?)\(", trace.read_text(), re.MULTILINE)
    # On a busy machine it may be done before its clock has begun.
    assert {"busctl", "head", "musterd-hook"} <= set(started) <= {"busctl", "head", "musterd-hook", "sleep"}
    assert len(started) == len(set(started))
    assert len(forked) <= 4
