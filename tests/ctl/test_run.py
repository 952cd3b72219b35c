"""`run`: musterctl becomes the agent, which gets on the roll."""

import asyncio
import os
import pty
import shutil
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Any

import pytest

from helpers.installation import Installation
from helpers.private_bus import PrivateBus
from helpers.programs import Programs, until
from helpers.standin import install_codex
from musterd.ctl import launch

SYSTEMD_RUN = """#!/bin/sh
[ "$1" = --version ] && { echo "systemd 255 (255.4)"; exit; }
printf '%s\\n' "$@" > @LOG@
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, str]:
    """An environment in which no systemd answers, not to root either, within a session that came back.

    No other test has a session of that name, which would take along what bears its mark when it ends.
    """
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("env", "sh", "grep", "ls", "pgrep", "ps", "sleep"):
        (programs / name).symlink_to(str(shutil.which(name)))
    return {
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PATH": str(programs),
        "MUSTERD_SESSION": f"run-{os.getpid()}",
    }


@pytest.fixture
def scoped(tmp_path: Path) -> dict[str, str]:
    """One with a user's systemd, and a systemd-run that notes what it was told."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "private").touch()
    program = tmp_path / "systemd-run"
    program.write_text(SYSTEMD_RUN.replace("@LOG@", str(tmp_path / "log")))
    program.chmod(0o755)
    return {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_it_ends_as_its_command_does(musterd: Installation, plain: dict[str, str]) -> None:
    outcome = musterd.ctl("run", "--", "sh", "-c", 'read line; echo "$line"; exit 7', stdin="hi\n", **plain)
    assert (outcome.status, outcome.stdout) == (7, "hi\n")
    assert outcome.stderr == "musterctl: No systemd answers here: it runs without a scope of its own.\n"


def test_nothing_of_musterctl_is_left_in_it(musterd: Installation, plain: dict[str, str]) -> None:
    """No mark of a session around it, no signal that Python ignores, no fd, no child."""
    script = 'echo "${MUSTERD_SESSION-}"; grep SigIgn /proc/$$/status; ls /proc/$$/fd; pgrep -P $$ -x python'
    lines = musterd.ctl("run", "--", "sh", "-c", script, **plain).stdout.splitlines()
    # Whoever started the tests may have had signals ignored, too: those are inherited by any program.
    bare = subprocess.run(
        ["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True, check=True
    )
    assert lines == ["", bare.stdout.strip(), "0", "1", "2"]


async def test_signals_are_its_own(musterd: Installation, plain: dict[str, str]) -> None:
    command = musterd.ctl_command("run", "--", "sh", "-c", "echo ready; exec sleep 1000")
    environ = {**musterd.environ, **plain}
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=PIPE, stderr=DEVNULL)
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM


def test_the_terminal_is_its_own(musterd: Installation, plain: dict[str, str]) -> None:
    command = musterd.ctl_command("run", "--", "sh", "-c", "test -t 0 && ps -o tpgid=,pid= -p $$")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve("/usr/bin/env", ["env", *command], {**musterd.environ, **plain})
    shown = _read_all(terminal)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert shown.splitlines()[-1].split() == [b"%d" % pid, b"%d" % pid]


def _read_all(terminal: int) -> bytes:
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # EIO: nobody has the other side any more
        return shown
    return shown


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_the_agent_gets_on_the_roll(
    musterd: Installation, plain: dict[str, str], tmp_path: Path, is_wrapped: bool
) -> None:
    """Whether what is started is the leader, or starts it."""
    command = [*install_codex(tmp_path), "--model", "gpt-9"]
    wrapped = ["sh", "-c", '"$@"; :', "wrapper", *command] if is_wrapped else command
    environ = {**musterd.environ, **plain, "CODEX_HOME": str(tmp_path / "codex")}
    with Programs() as programs:
        pid = programs.start(*musterd.ctl_command("run", "--", *wrapped), environ=environ)
        session = until(lambda: _codex(musterd), "it is registered")
        assert (session["Leader"] == pid) == (not is_wrapped)
        assert session["CWD"] == str(Path.cwd())
        programs.end(pid)
        until(lambda: not _codex(musterd), "it left the roll")


def _codex(musterd: Installation) -> Any:
    return next((s for s in musterd.json("list") if s["Agent"] == "codex"), None)


def test_a_program_that_is_no_agent_is_registered_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "RECOGNITION", 0)
    with Programs() as programs:
        pid = programs.start("cat")
        pidfd = os.pidfd_open(pid)
        assert launch._await_leader(pid, pidfd) == pid
        programs.end(pid)
        assert launch._await_leader(pid, pidfd) == 0
        os.close(pidfd)


def test_it_has_a_scope_of_its_own_where_systemd_answers(
    musterd: Installation, scoped: dict[str, str], tmp_path: Path
) -> None:
    outcome = musterd.ctl("run", "--", "echo", "a $HOME; b", **scoped)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "a $HOME; b\n", "")
    told = (tmp_path / "log").read_text().splitlines()
    assert told[:4] == ["--user", "--scope", "--quiet", "--collect"]
    assert told[4].startswith("--unit=musterd-")
    assert told[4].endswith(".scope")
    assert told[5:] == ["--expand-environment=no", "--", "echo", "a $HOME; b"]


def test_a_program_that_is_not_there_is_a_failure(musterd: Installation) -> None:
    outcome = musterd.ctl("run", "--", "/no/such/program")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr == "musterctl: Cannot run '/no/such/program': there is no such program.\n"


@pytest.mark.parametrize("args", [["run"], ["-H", "there", "run", "--", "true"]])
def test_misuse(musterd: Installation, args: list[str]) -> None:
    assert musterd.ctl(*args).status == 2


def test_without_a_daemon_nothing_is_started(private_bus: PrivateBus, tmp_path: Path) -> None:
    outcome = Installation(tmp_path, private_bus.address).ctl("run", "--", "echo", "hi")
    assert (outcome.status, outcome.stdout) == (3, "")
