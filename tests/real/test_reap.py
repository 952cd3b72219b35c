"""Real agents are ended in earnest, and come back."""

import os
from pathlib import Path

import pytest

from helpers.daemon import Daemon

from .agents import AGENTS, FOR_EVER, PATIENCE, Lab, Pane, descendants, until
from .test_life import appear, child_named, comm, end_tool, kinds_of_events, state_is

pytestmark = pytest.mark.real

KEYS = ["pi", "codex", "opencode", "gemini"]


def reaper_on(daemon: Daemon) -> None:
    """For the agents of the test alone."""
    daemon.leave_others_alone()
    daemon.call("Reaper.SetMode", "ss", "on", "a test")


def press(daemon: Daemon, *, pressed: bool = True) -> None:
    """As the daemon knows."""
    daemon.press(pressed=pressed)
    until(lambda: (daemon.get("Reaper.Tier") != "normal") is pressed, PATIENCE, "the pressure is read")


def judged(daemon: Daemon, times: int) -> None:
    """Wait until the reaper has looked at all that often: nobody else may ask for a verdict meanwhile."""
    seen = {daemon.get("Reaper.LastEvaluationUSec")}

    def is_enough() -> bool:
        seen.add(daemon.get("Reaper.LastEvaluationUSec"))
        return len(seen) > times

    until(is_enough, PATIENCE, f"{times} evaluations")


def ended(daemon: Daemon, session: str) -> dict[str, object] | None:
    values = daemon.session(session)
    return values if values["State"] == "ended" else None


def family(pane: Pane, daemon: Daemon, session: str) -> set[int]:
    """The agent with its launcher, and all below it; not the shell it was typed into."""
    leader = int(daemon.session(session)["Leader"])
    return {pid for pid in pane.processes() if pid == leader or leader in descendants(pid)} | {
        *descendants(leader)
    }


@pytest.mark.parametrize("key", KEYS)
def test_idle_one_is_reaped_and_resumed_where_it_was(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str
) -> None:
    daemon = hooked_daemon
    pane, session, _ = appear(hooked_lab, daemon, AGENTS[key])
    pane.submit("remember the word marmalade")
    pane.wait_for("MOCK-REPLY")
    until(state_is(daemon, session, "idle"), PATIENCE, "it is idle")
    until(lambda: daemon.explain(session)[0] == "eligible", PATIENCE, "it is eligible")
    before = family(pane, daemon, session)
    terminal, talk = (daemon.session(session)[name] for name in ("Terminal", "AgentSessionId"))
    reaper_on(daemon)
    daemon.press()
    values = until(lambda: ended(daemon, session), PATIENCE, "it is ended")
    press(daemon, pressed=False)  # else it may be ended again once it is back
    assert values["EndedReason"] == "reaped"
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), PATIENCE, "its shell knows")
    assert not daemon.get("Reaper.AutoDisabled"), daemon.get("Reaper.AutoDisabledReason")
    (rows,) = daemon.call("ListEvents", "utts", 50, 0, 0, session)
    assert kinds_of_events(daemon, session).count("reaped") == 1
    freed = next(text for *_, kind, _, text in rows if kind == "reaped")
    print(f"{key}: {freed.partition(';')[0]}")

    pane.press("C-l")
    until(lambda: "marmalade" not in pane.screen(), PATIENCE, "its shell has cleared the screen")
    assert daemon.call("ResumeSession", "s", session) == [session]
    until(lambda: not ended(daemon, session), PATIENCE, "it is back")
    assert daemon.session(session)["Terminal"] == terminal, pane.screen()
    until(lambda: daemon.session(session)["AgentSessionId"] == talk, PATIENCE, "the same conversation")
    pane.wait_for("marmalade")
    assert daemon.explain(session)[0] == "keep"


@pytest.mark.parametrize("key", KEYS)
def test_working_one_is_not_reaped_whatever_the_pressure(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str
) -> None:
    daemon = hooked_daemon
    pane, session, _ = appear(hooked_lab, daemon, AGENTS[key])
    reaper_on(daemon)
    press(daemon)
    pane.submit(f"please MOCK:sleep={FOR_EVER}")
    until(lambda: child_named(pane, "sleep"), PATIENCE, "its tool runs")
    leader = daemon.session(session)["Leader"]
    judged(daemon, 6)
    press(daemon, pressed=False)  # else it is reaped once its turn is over, and rightly so
    end_tool(pane)
    pane.wait_for("MOCK-DONE")
    assert daemon.session(session)["Leader"] == leader
    assert comm(leader)
    assert "reaped" not in kinds_of_events(daemon, session)
    os.kill(leader, 0)


@pytest.mark.parametrize("key", ["pi", "codex"])
def test_draft_is_not_lost(hooked_lab: Lab, hooked_daemon: Daemon, key: str) -> None:
    daemon = hooked_daemon
    pane, session, _ = appear(hooked_lab, daemon, AGENTS[key])
    pane.submit("hello")
    pane.wait_for("MOCK-REPLY")
    until(lambda: daemon.explain(session)[0] == "eligible", PATIENCE, "it is eligible")
    pane.type("half a thought")
    reaper_on(daemon)
    press(daemon)
    until(lambda: daemon.explain(session)[1] == "pending", PATIENCE, "its draft keeps it")
    judged(daemon, 3)
    until(lambda: daemon.explain(session)[1] == "pending", PATIENCE, "its draft keeps it still")
    pane.wait_for("half a thought")  # who draws its screen anew shows less for a moment
    assert daemon.session(session)["State"] == "idle"
