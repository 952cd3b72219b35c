"""The hooks that musterctl installs, in the real agents: trusted, heard, held, and asked to leave."""

import json
import re
import time
from pathlib import Path

import pytest

from helpers.daemon import Daemon
from musterd.agents.catalog import ADAPTERS
from musterd.core.session import Agent as Name

from .agents import AGENTS, PATIENCE, Lab, until
from .test_life import appear, state_is
from .test_reap import ended, reaper_on

pytestmark = pytest.mark.real

# Instead of musterd-hook: holds the first stop that it is asked about, in the words of the adapter.
HOLDS_ONCE = """#!/bin/sh
cat >/dev/null
case $2 in {event}) ;; *) exit ;; esac
echo "$2" >>"$0.stops"
mkdir "$0.held" 2>/dev/null && echo '{answer}'
exit 0
"""


def standing(lab: Lab, name: str) -> dict[str, object]:
    (row,) = json.loads(lab.ctl("hooks", "status", name, "--json"))
    assert isinstance(row, dict)
    return row


def test_codex_asks_its_user_once_and_then_runs_them(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    agent, lab = AGENTS["codex"], hooked_lab
    lab.is_patient = False  # else another installation would change them
    pane = lab.start(agent, "--no-alt-screen", wait=False)
    pane.wait_for("Hooks need review")
    assert str(standing(lab, "codex")["Doubt"]).startswith("not trusted yet")
    chosen = re.compile(r"^\S 2. Trust all and continue", re.MULTILINE)
    pane.insist("Down", r"^\S 1\. ", lambda: chosen.search(pane.screen()))
    pane.press("Enter")
    pane.wait_for(agent.ready)
    until(lambda: standing(lab, "codex")["Doubt"] == "", PATIENCE, "they are trusted")
    assert standing(lab, "codex")["HeardUSec"] == 0
    for greeting in ("hello", "good morning", "good evening"):  # it waits 3 s for a hook, as shipped
        before = lab.answers
        pane.submit(greeting)
        pane.wait_for_answer(after=before)
        until(lambda: not pane.runs(lab.hook.name), PATIENCE, "its hooks have ended")
        if standing(lab, "codex")["HeardUSec"]:
            break
    assert standing(lab, "codex")["HeardUSec"], "no hook is heard"
    lab.ctl("hooks", "install", "codex")
    assert standing(lab, "codex")["Doubt"] == ""


@pytest.mark.parametrize(("key", "event"), [("pi", "agent_before_settle"), ("opencode", "session.idle")])
def test_a_turn_that_is_held_goes_on_with_the_reason(hooked_lab: Lab, key: str, event: str) -> None:
    agent, lab = AGENTS[key], hooked_lab
    answer = ADAPTERS[Name(agent.name)].block(event, "say the word tangerine")
    lab.hook.write_text(HOLDS_ONCE.format(event=event, answer=answer))
    pane = lab.start(agent)
    pane.submit("hello")
    stops = Path(f"{lab.hook}.stops")
    until(lambda: stops.exists() and len(stops.read_text().splitlines()) == 2, PATIENCE, "it stops again")
    pane.wait_for("tangerine")
    if key == "opencode":
        pane.wait_for("Your user did not write this")
    prompts = [line for line in lab.model_log.read_text().splitlines() if "tangerine" in line]
    assert prompts


def test_pi_leaves_by_itself_when_it_is_reaped(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    daemon = hooked_daemon
    pane, session, _ = appear(hooked_lab, daemon, AGENTS["pi"])
    pane.submit("hello")
    pane.wait_for("MOCK-REPLY")
    until(state_is(daemon, session, "idle"), PATIENCE, "it is idle")
    until(lambda: daemon.explain(session)[0] == "eligible", PATIENCE, "it is eligible")
    reaper_on(daemon)
    began = time.monotonic()
    daemon.press()
    until(lambda: ended(daemon, session), PATIENCE, "it is ended")
    daemon.press(pressed=False)
    (rows,) = daemon.call("ListEvents", "utts", 50, 0, 0, session)
    told = next(text for *_, kind, _, text in rows if kind == "reaped")
    print(f"pi: {told} ({time.monotonic() - began:.1f} s after the pressure)")
    assert "SIGUSR2" in told
