"""The life of real agents, as the real daemon sees it: they come, work, rest and go."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from helpers.daemon import Daemon

from .agents import AGENTS, Agent, Lab, Pane, until

pytestmark = pytest.mark.real

DISCOVERABLE = ["pi", "codex", "opencode", "gemini"]


def name_of(agent: Agent) -> str:
    return "pi" if agent.key.startswith("pi") else agent.key


def the_one(daemon: Daemon, agent: Agent) -> dict[str, Any] | None:
    found = [session for session in daemon.sessions() if session["Agent"] == name_of(agent)]
    assert len(found) < 2, f"one agent, but {found}"
    return found[0] if found else None


def state_is(daemon: Daemon, session_id: str, state: str) -> Callable[[], bool]:
    return lambda: daemon.session(session_id)["State"] == state


def timed(look: Callable[[], Any], seconds: float, what: str) -> float:
    began = time.monotonic()
    until(look, seconds, what)
    return time.monotonic() - began


@pytest.fixture(params=DISCOVERABLE)
def agent(request: pytest.FixtureRequest) -> Agent:
    return AGENTS[request.param]


def test_agent_comes_works_rests_and_goes(lab: Lab, daemon: Daemon, agent: Agent) -> None:
    """Without hooks of ours: what a user sees who has only just installed musterd."""
    pane = lab.start(agent)
    appeared = timed(lambda: the_one(daemon, agent), 2, "it is on the roll")
    session = the_one(daemon, agent)
    assert session
    session_id = session["Id"]
    assert session["CWD"] == str(lab.project)
    assert daemon.session(session_id)["Terminal"] == f"tmux:{lab.socket}:{pane.show('#{pane_id}')}"

    pane.submit("please MOCK:sleep=6")
    until(lambda: child_named(pane, "sleep"), 20, "its tool runs")
    busy = timed(state_is(daemon, session_id, "busy"), 2, "it is busy")
    verdict, kept_by, gates = daemon.explain(session_id)
    assert (verdict, kept_by) == ("keep", kept_by)
    assert kept_by, gates
    pane.wait_for("MOCK-DONE", 40)
    idle = timed(state_is(daemon, session_id, "idle"), 3, "it is idle")

    leader = daemon.session(session_id)["Leader"]
    os.kill(leader, signal.SIGKILL)
    gone = timed(lambda: the_one(daemon, agent) is None, 2, "it left the roll")
    print(f"{agent.key}: on the roll {appeared:.2f} s after its prompt, busy {busy:.2f} s, "
          f"idle {idle:.2f} s, gone {gone:.2f} s")


def child_named(pane: Pane, name: str) -> bool:
    def comm(pid: int) -> str:
        try:
            with open(f"/proc/{pid}/comm") as file:
                return file.read().strip()
        except OSError:
            return ""

    return any(comm(pid) == name for pid in pane.processes())
