"""The life of real agents, as the real daemon sees it: they come, work, rest and go."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.daemon import Daemon

from .agents import AGENTS, FOR_EVER, PATIENCE, Agent, Lab, Pane, until

pytestmark = pytest.mark.real


def name_of(agent: Agent) -> str:
    return "pi" if agent.key.startswith("pi") else agent.key


def the_one(lab: Lab, daemon: Daemon, agent: Agent) -> dict[str, Any] | None:
    """Its session; others may run agents on this machine, too, but not in this directory."""
    ours = [session for session in daemon.sessions() if session["CWD"] == str(lab.project)]
    found = [session for session in ours if session["Agent"] == name_of(agent)]
    assert len(found) < 2, f"one agent, but {found}"
    return found[0] if found else None


def state_is(daemon: Daemon, session_id: str, *states: str) -> Callable[[], bool]:
    return lambda: daemon.session(session_id)["State"] in states


def timed(look: Callable[[], Any], seconds: float, what: str) -> float:
    began = time.monotonic()
    until(look, seconds, what)
    return time.monotonic() - began


def appear(lab: Lab, daemon: Daemon, agent: Agent) -> tuple[Pane, str, float]:
    """Start it and wait until it is on the roll -> its pane, its id, seconds after its prompt was drawn."""
    pane = lab.start(agent)
    after = timed(lambda: the_one(lab, daemon, agent), PATIENCE, "it is on the roll")
    session = the_one(lab, daemon, agent)
    assert session
    assert session["CWD"] == str(lab.project)
    assert daemon.session(session["Id"])["Terminal"] == f"tmux:{lab.socket}:{pane.show('#{pane_id}')}"
    return pane, session["Id"], after


def live(lab: Lab, daemon: Daemon, agent: Agent) -> None:
    pane, session_id, appeared = appear(lab, daemon, agent)
    pane.submit(f"please MOCK:sleep={FOR_EVER}")
    until(lambda: child_named(pane, "sleep"), PATIENCE, "its tool runs")
    busy = timed(state_is(daemon, session_id, "busy"), PATIENCE, "it is busy")
    until(lambda: "sleep" in kept_by_children(daemon, session_id), PATIENCE, "its tool is named")
    assert daemon.explain(session_id)[2]["turn"][0] != "pass"
    end_tool(pane)
    pane.wait_for("MOCK-DONE")
    idle = timed(state_is(daemon, session_id, "idle"), PATIENCE, "it is idle")
    leader = daemon.session(session_id)["Leader"]
    os.kill(leader, signal.SIGKILL)
    gone = timed(lambda: the_one(lab, daemon, agent) is None, PATIENCE, "it left the roll")
    print(
        f"{agent.key}: on the roll {appeared:.2f} s after its prompt, busy {busy:.2f} s after its tool ran, "
        f"idle {idle:.2f} s after its answer, gone {gone:.2f} s after SIGKILL"
    )


@pytest.mark.parametrize("key", ["codex"])
def test_life_without_hooks(lab: Lab, daemon: Daemon, key: str) -> None:
    live(lab, daemon, AGENTS[key])


@pytest.mark.parametrize("key", ["pi", "codex", "gemini", "opencode"])
def test_life_with_hooks(hooked_lab: Lab, hooked_daemon: Daemon, key: str) -> None:
    live(hooked_lab, hooked_daemon, AGENTS[key])


@pytest.mark.parametrize("key", ["pi", "codex", "gemini", "opencode"])
def test_idle_one_is_eligible_and_is_reaped_under_pressure(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str
) -> None:
    """Every gate passes, through the production wiring; the pressure is an injected reading."""
    daemon = hooked_daemon
    pane, session_id, _ = appear(hooked_lab, daemon, AGENTS[key])
    pane.submit("hello")
    pane.wait_for("MOCK-REPLY")
    until(state_is(daemon, session_id, "idle"), PATIENCE, "it is idle")
    until(lambda: daemon.explain(session_id)[0] == "eligible", PATIENCE, "it is eligible")
    daemon.press()
    until(lambda: daemon.explain(session_id)[0] == "reap", PATIENCE, "it would be reaped")
    until(lambda: "verdict" in kinds_of_events(daemon, session_id), PATIENCE, "history")
    # The other direction, in the same wiring: work begins, and nothing would touch it.
    pane.submit(f"please MOCK:sleep={FOR_EVER}")
    until(lambda: child_named(pane, "sleep"), PATIENCE, "its tool runs")
    assert daemon.explain(session_id)[0] == "keep"


def kept_by_children(daemon: Daemon, session_id: str) -> str:
    """Their names. Programs of a hook may be among them, and no more than a few are named."""
    verdict, _, gates = daemon.explain(session_id)
    assert verdict == "keep"
    assert gates["children"][0] == "keep", gates
    return gates["children"][1]


def kinds_of_events(daemon: Daemon, session_id: str) -> list[str]:
    (rows,) = daemon.call("ListEvents", "utts", 50, 0, 0, session_id)
    return [kind for _, _, _, kind, *_ in rows]


def child_named(pane: Pane, name: str) -> int:
    """Among its tools -> its pid, or 0. A hook of ours has a `sleep` for a clock, too."""
    return next((pid for pid in pane.processes() if comm(pid) == name and not is_hook(pid)), 0)


def end_tool(pane: Pane) -> None:
    """Its `sleep`: what stands behind it comes then."""
    os.kill(until(lambda: child_named(pane, "sleep"), PATIENCE, "its tool"), signal.SIGTERM)


def is_hook(pid: int) -> bool:
    """In the laboratory, only what our hook starts is told the bus; in execve(2), or gone, it may be."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return True
    return not environ or b"MUSTERD_BUS=" in environ


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
