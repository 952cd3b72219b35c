"""The real daemon, a stand-in of an agent in a real pane, and the real notification service."""

import asyncio
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.daemon import Daemon
from helpers.programs import until
from helpers.standin import install_codex
from helpers.tmux import TmuxServer
from notifier.conftest import Stage


@pytest.fixture
def daemon(tmp_path: Path, stage: Stage) -> Iterator[Daemon]:
    with Daemon.eager(tmp_path, stage.bus) as daemon:
        yield daemon


def start_idle_agent(tmux: TmuxServer, daemon: Daemon, work: Path) -> str:
    """The id of a session that has answered once, and is idle since."""
    project = daemon.home / "website"
    project.mkdir()
    command = ["env", f"HOME={daemon.home}", *install_codex(work / "agent")]
    pane = tmux.pane("sh", "-c", f"cd {shlex.quote(str(project))} && exec {shlex.join(command)}")
    tmux.run("send-keys", "-t", pane, "think 0.5", "Enter")

    def idle() -> str:
        found = [session for session in daemon.sessions() if session["CWD"] == str(project)]
        return found[0]["Id"] if found and found[0]["State"] == "idle" else ""

    return until(idle, "the agent is idle", 20)


async def test_dry_run_under_pressure_is_told_of_the_session_that_would_go(
    stage: Stage, daemon: Daemon, tmp_path: Path
) -> None:
    with TmuxServer(tmp_path) as tmux:
        session_id = await asyncio.to_thread(start_idle_agent, tmux, daemon, tmp_path)
        async with stage.dunst() as desktop, stage.notifier("--dry-run-too"):
            daemon.press()
            while (shown := await desktop.shown()).summary != "“website” would have been ended":
                pass  # of an agent that somebody else runs on this machine
        assert "of memory would have come back. This is a dry run: it goes on." in shown.body
        assert daemon.session(session_id)["State"] == "idle"
        assert daemon.session(session_id)["UID"] == os.getuid()
