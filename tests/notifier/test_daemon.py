"""The real daemon, a stand-in of an agent in a real pane, and the real notification service."""

import asyncio
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.daemon import ALONE, DAEMON, EAGER, Daemon
from helpers.programs import until
from helpers.standin import install_codex
from helpers.tmux import TmuxServer
from notifier.conftest import Stage


@pytest.fixture
def daemon(tmp_path: Path, stage: Stage) -> Iterator[Daemon]:
    with Daemon.eager(tmp_path, stage.bus, more=ALONE) as daemon:
        yield daemon


@pytest.fixture
def patient(tmp_path: Path, stage: Stage) -> Iterator[Daemon]:
    """With a grace in which somebody can answer, on a busy machine, and time for its hooks."""
    config = EAGER.format(work=tmp_path).replace('grace = "1s"', 'grace = "20s"')
    stop_gate = '[stop-gate]\nhook-timeout = "60s"\ncheck-timeout = "60s"\n'
    with Daemon(tmp_path, stage.bus, config + ALONE + stop_gate) as daemon:
        yield daemon


def start_idle_agent(tmux: TmuxServer, daemon: Daemon, work: Path, **environ: str) -> str:
    """The id of a session that has answered once, and is idle since."""
    project = daemon.home / "website"
    project.mkdir()
    settings = [f"{name}={value}" for name, value in {"HOME": str(daemon.home), **environ}.items()]
    command = ["env", *settings, *install_codex(work / "agent")]
    pane = tmux.pane("sh", "-c", f"cd {shlex.quote(str(project))} && exec {shlex.join(command)}")
    leader = int(tmux.about(pane, "pane_pid"))
    until(lambda: b"codex.py" in Path(f"/proc/{leader}/cmdline").read_bytes(), "the agent runs")
    tmux.run("send-keys", "-t", pane, "think 0.5", "Enter")
    rollout = until(lambda: next(daemon.home.glob(".codex/sessions/*/*/*/*.jsonl"), None), "it has a prompt")
    # Not by discovery, which would see agents that are none of a test's business.
    thread = rollout.stem[-36:]
    session_id = daemon.register(leader, agent="codex", transcript=str(rollout), agent_session_id=thread)
    until(lambda: daemon.session(session_id)["State"] == "idle", "the agent is idle")
    return session_id


async def test_dry_run_under_pressure_is_told_of_the_session_that_would_go(
    stage: Stage, daemon: Daemon, tmp_path: Path
) -> None:
    with TmuxServer(tmp_path) as tmux:
        session_id = await asyncio.to_thread(start_idle_agent, tmux, daemon, tmp_path)
        async with stage.dunst() as desktop, stage.notifier("--dry-run-too"):
            daemon.press()
            shown = await desktop.shown()
        assert shown.summary == "“website” would have been ended"
        assert "of memory would have come back. This is a dry run: it goes on." in shown.body
        assert daemon.session(session_id)["State"] == "idle"
        assert daemon.session(session_id)["UID"] == os.getuid()


async def test_session_that_is_kept_on_the_desktop_is_not_reaped(
    stage: Stage, patient: Daemon, tmp_path: Path
) -> None:
    with TmuxServer(tmp_path) as tmux:
        session_id = await asyncio.to_thread(start_idle_agent, tmux, patient, tmp_path)
        async with stage.dunst() as desktop, stage.notifier():
            patient.call("Reaper.SetMode", "ss", "on", "a test")
            patient.press()
            assert (await desktop.shown()).summary.startswith("“website” will be ended in")
            await desktop.click("Keep")
            assert (await desktop.shown()).summary == "“website” is kept"
            (holds,) = patient.call("ListInhibitors")
            assert [(what, who, mode, held) for what, who, _, mode, _, _, held in holds] == [
                ("reap", "musterd-notify", "block", session_id)
            ]
            await asyncio.to_thread(until, lambda: "cancelled" in kinds(patient, session_id), "it is kept")
        assert patient.session(session_id)["State"] == "idle"


async def test_session_that_is_reaped_in_earnest_is_told_of_with_what_came_back(
    stage: Stage, patient: Daemon, tmp_path: Path
) -> None:
    with TmuxServer(tmp_path) as tmux:
        session_id = await asyncio.to_thread(start_idle_agent, tmux, patient, tmp_path)
        async with stage.dunst() as desktop, stage.notifier():
            patient.call("Reaper.SetMode", "ss", "on", "a test")
            patient.press()
            shown = await desktop.shown()
            assert shown.summary.startswith("“website” will be ended in")
            # What was typed a moment ago may put it off at the last moment, and then it is announced again.
            while shown.summary != "“website” was ended":
                shown = await desktop.shown()
        assert shown.body.endswith("of memory came back. Resume brings it back where it was.")
        assert shown.actions == {"resume": "Resume"}
        assert patient.session(session_id)["EndedReason"] == "reaped"


async def test_session_that_is_held_is_told_of_and_again_when_its_budget_is_used_up(
    stage: Stage, patient: Daemon, tmp_path: Path
) -> None:
    """Its stop hooks are run, and it stops all the same: an agent decides that for itself."""
    daemon = patient
    settings = f"env PYTHONPATH={DAEMON} MUSTERD_HOOK_TIMEOUT=60"
    report = f"{settings} {sys.executable} -m musterd.ctl --bus {daemon.bus.address} hook codex"
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\n{report} "$1"\ntouch "{tmp_path}/told $1"\n')
    hook.chmod(0o755)
    environ = {"STANDIN_HOOK": str(hook), "PATH": os.environ["PATH"]}
    with TmuxServer(tmp_path) as tmux:
        session_id = await asyncio.to_thread(start_idle_agent, tmux, daemon, tmp_path, **environ)
        await asyncio.to_thread(until, (tmp_path / "told Stop").exists, "its first turn was allowed to end")
        daemon.call("StopGate.SetMode", "ss", "enforce", "a test")
        claim = ["3", "session", "s", session_id, "task", "s", "the website", "budget", "s", "small"]
        daemon.call("StopGate.Claim", "a{sv}", *claim)
        pane = daemon.session(session_id)["Terminal"].rpartition(":")[2]
        async with stage.dunst() as desktop, stage.notifier():
            for number in range(1, 5):
                tmux.run("send-keys", "-t", pane, "think 0.1", "Enter")
                await asyncio.to_thread(until, lambda n=number: stops(daemon) == n, f"{number} stops")
            held, let_go = await desktop.shown(), await desktop.shown()
        assert (held.summary, let_go.summary) == ("“website” goes on", "“website” stopped unfinished")


def stops(daemon: Daemon) -> int:
    """How often the stop gate was asked about something that was not done."""
    (events,) = daemon.call("StopGate.History", "u", 50)
    return sum(event["Kind"]["data"] in ("held", "let-go") for event in events)


def kinds(daemon: Daemon, session_id: str) -> list[str]:
    """What the history says of a session."""
    (events,) = daemon.call("ListEvents", "utts", 50, 0, 0, session_id)
    return [kind for _, _, _, kind, _, _ in events]
