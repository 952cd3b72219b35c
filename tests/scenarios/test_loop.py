"""The loop waits for nobody: what may hang is left to a thread that may."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from helpers.daemon import EAGER, Daemon
from helpers.private_bus import DBusDaemon
from helpers.programs import PATIENCE, until
from helpers.tmux import TmuxServer

from .stage import Stage


class TracedDaemon(Daemon):
    """Under strace(1), which writes down what each of its threads does with a path."""

    @property
    def trace(self) -> Path:
        return self.work / "trace"

    @property
    def command(self) -> list[str]:
        # Not what it starts: a tmux that is traced, too, is late on a busy machine.
        strace = [
            "strace",
            "-D",
            "-f",
            "-b",
            "execve",
            "-qq",
            "-s",
            "512",
            "-o",
            str(self.trace),
            "-e",
            "%file",
        ]
        return [*strace, *super().command]

    def calls(self) -> list[tuple[str, int, str]]:
        """One after the other: its name, which thread, and the first path that it names."""
        calls = re.findall(r'^(\d+) +(\w+)\([^"\n]*"([^"\n]*)"', self.trace.read_text(), re.MULTILINE)
        return [(name, int(thread), path) for thread, name, path in calls]


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[Stage, TracedDaemon]]:
    with ExitStack() as stack:
        bus = stack.enter_context(DBusDaemon(tmp_path / "bus"))
        daemon = stack.enter_context(TracedDaemon(tmp_path, bus, EAGER.format(work=tmp_path)))
        tmux = stack.enter_context(TmuxServer(tmp_path))
        daemon.press()
        stage = Stage(tmp_path, daemon, tmux, stack)
        yield stage, daemon
        stage.clear()


def test_the_loop_opens_nothing_that_its_user_has_in_hand(traced: tuple[Stage, TracedDaemon]) -> None:
    """Neither files, which may be on a network, nor the memory of processes, which may be locked."""
    stage, daemon = traced
    agent = stage.typed_agent("traced").turn()
    agent.say("rotate").turn()
    agent.becomes_eligible()
    agent.end_and_resume().turn()
    daemon.call("TerminateSession", "ss", agent.id, "")
    until(lambda: agent.id not in [s["Id"] for s in daemon.sessions()], "it is off the roll", PATIENCE)
    assert daemon.process
    daemon.stop()
    memory = r"/proc/(?!self)[^/]+/(environ|cmdline|exe|cwd|maps)$"
    theirs = re.compile(f"{memory}|{re.escape(str(daemon.home))}/")
    named = [call for call in daemon.calls() if theirs.match(call[2])]
    assert {path.rpartition("/")[2] for _, _, path in named} >= {"environ", "cmdline"}
    # What is watched was looked at before, by somebody else.
    loop = daemon.process.pid
    assert [call for call in named if call[1] == loop and call[0] != "inotify_add_watch"] == []
    for number, (name, thread, path) in enumerate(named):
        if (name, thread) == ("inotify_add_watch", loop):
            assert any(path in before for _, other, before in named[:number] if other != loop), path
