"""Reaps, orders, natural exits and restarts of the daemon meet in any order: each session ends once."""

import asyncio
import os
import random
import shlex
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.client import client
from helpers.daemon import CallFailed, Daemon
from helpers.private_bus import PrivateBus
from helpers.programs import until
from helpers.standin import install_codex
from helpers.tmux import TmuxServer
from musterd.bus.errors import BusError

SESSIONS = int(os.environ.get("MUSTERD_RACES", "8"))


class Shipped(Daemon):
    """In none of its panes comes a prompt, for which a patient one would wait at each end."""

    module = "musterd"


@pytest.fixture
def daemon(tmp_path: Path, private_bus: PrivateBus) -> Iterator[Daemon]:
    with Shipped.eager(tmp_path, private_bus, more="[events]\nkeep = '30d'\n") as daemon:
        yield daemon


@pytest.fixture
def panes(tmp_path: Path, daemon: Daemon) -> Iterator[tuple[TmuxServer, dict[str, str]]]:
    """Stand-ins below shells in panes of their own: directory -> pane."""
    command = shlex.join(install_codex(tmp_path / "agent"))
    with TmuxServer(tmp_path) as tmux:
        found = {}
        for number in range(SESSIONS):
            project = daemon.home / f"p{number}"
            project.mkdir()
            shell = [
                "env",
                f"HOME={daemon.home}",
                "sh",
                "-c",
                f"cd {shlex.quote(str(project))} && {command}; exec cat",
            ]
            found[str(project)] = tmux.pane(*shell)
        yield tmux, found


def idle(daemon: Daemon, panes: dict[str, str]) -> dict[str, str]:
    """Directory -> id, of those that are idle."""
    return {s["CWD"]: s["Id"] for s in daemon.sessions() if s["State"] == "idle" and s["CWD"] in panes}


def left(daemon: Daemon, panes: dict[str, str]) -> list[str]:
    return [s["Id"] for s in daemon.sessions() if s["CWD"] in panes]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_each_session_ends_once_whoever_ends_it(
    daemon: Daemon, panes: tuple[TmuxServer, dict[str, str]]
) -> None:
    tmux, where = panes
    choice = random.Random(7)
    until(
        lambda: len([s for s in daemon.sessions() if s["CWD"] in where]) == SESSIONS, "all are on the roll"
    )
    for pane in where.values():
        tmux.run("send-keys", "-t", pane, "think 0.2", "Enter")
    until(lambda: len(idle(daemon, where)) == SESSIONS, "all are idle")
    daemon.release_others()
    ids = idle(daemon, where)
    leaders = {one: daemon.session(one)["Leader"] for one in ids.values()}
    daemon.call("Reaper.SetMode", "ss", "on", "a test")
    daemon.press()
    for number, (directory, one) in enumerate(ids.items()):
        match number % 4:
            case 0:  # its user leaves it
                tmux.run("send-keys", "-t", where[directory], "quit", "Enter")
            case 1:  # its user orders its end, twice
                await asyncio.gather(*(_terminate(daemon, one) for _ in range(2)))
            case 2:  # the reaper finds it
                pass
            case 3:  # the daemon is killed in between
                await asyncio.sleep(choice.uniform(0, 0.5))  # at any moment; nothing is waited for
                await asyncio.to_thread(daemon.restart, signal.SIGKILL)
    try:
        until(lambda: not left(daemon, where), "all have ended", 30 + 5 * SESSIONS)
    except AssertionError:
        why = [daemon.explain(one) for one in left(daemon, where)]
        raise AssertionError([(kept_by, gates[kept_by]) for _, kept_by, gates in why]) from None
    until(lambda: not any(is_there(pid) for pid in leaders.values()), "their shells have taken note")
    assert not daemon.get("Reaper.AutoDisabled"), daemon.get("Reaper.AutoDisabledReason")
    for one in ids.values():
        _check_history(daemon, one)
    assert "Traceback" not in daemon.log


async def _terminate(daemon: Daemon, session_id: str) -> str:
    """The order is carried out, or refused with a reason: it ended already, or is being ended."""
    async with client(daemon.bus.address) as caller:
        try:
            await caller.call("TerminateSession", "ss", session_id, "done", within=40)
        except BusError as exc:
            return str(exc)
    return ""


def _check_history(daemon: Daemon, session_id: str) -> None:
    (rows,) = daemon.call("ListEvents", "utts", 500, 0, 0, session_id)
    kinds = Counter(kind for _, _, _, kind, *_ in rows)
    assert kinds["ended"] == 1, rows
    assert kinds["reaped"] + kinds["terminated"] <= 1, rows
    values: dict[str, Any] = daemon.session(session_id)
    assert values["State"] == "ended"
    assert values["EndedReason"] in ("reaped", "terminated", "exited", "gone-while-away")
    if kinds["reaped"]:
        assert values["EndedReason"] == "reaped", rows
    with pytest.raises(CallFailed, match="has ended already"):
        daemon.call("TerminateSession", "ss", session_id, "again")
