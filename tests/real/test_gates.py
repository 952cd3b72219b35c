"""What must keep a real agent, and what must not, through the production wiring."""

import asyncio
import os
import signal
import time

import pytest

from helpers.client import client
from helpers.daemon import NAME, Daemon
from musterd.bus.signals import Match

from .agents import AGENTS, PATIENCE, Lab, until
from .test_life import appear, child_named, state_is, the_one

pytestmark = pytest.mark.real


def ours(lab: Lab, daemon: Daemon) -> list[str]:
    """Others may run agents on this machine, too, but not in this directory."""
    return sorted(session["Id"] for session in daemon.sessions() if session["CWD"] == str(lab.project))


def eligible(daemon: Daemon, session_id: str) -> None:
    until(lambda: daemon.explain(session_id)[0] == "eligible", PATIENCE, "it is eligible")


@pytest.mark.parametrize(
    ("key", "dialog"),
    [("codex", "Would you like to run"), ("opencode", "Permission required"), ("gemini", "Allow execution")],
)
def test_permission_dialog_keeps_and_its_answer_frees(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str, dialog: str
) -> None:
    agent, daemon = AGENTS[key], hooked_daemon
    pane = hooked_lab.start(agent, *(agent.asking or ()))
    pane.submit(agent.ask)
    session = until(lambda: the_one(hooked_lab, daemon, agent), PATIENCE, "it is on the roll")["Id"]
    until(state_is(daemon, session, "waiting"), PATIENCE, "it waits")
    assert daemon.explain(session)[0] == "keep"
    pane.wait_for(dialog)  # its hook comes before it
    pane.press("Escape")
    until(state_is(daemon, session, "idle"), PATIENCE, "it is idle")


@pytest.mark.parametrize("key", ["pi", "codex", "gemini"])
def test_draft_keeps_and_is_kept(hooked_lab: Lab, hooked_daemon: Daemon, key: str) -> None:
    pane, session, _ = appear(hooked_lab, hooked_daemon, AGENTS[key])
    pane.submit("hello")
    pane.wait_for("MOCK-REPLY")
    eligible(hooked_daemon, session)
    pane.type("not sent yet")
    verdict, _, gates = hooked_daemon.explain(session)
    assert verdict == "keep"
    assert gates["pending"] == ("keep", "text is typed but not sent")
    assert "not sent yet" in pane.screen()


@pytest.mark.parametrize(
    ("key", "offer"), [("pi", "Working"), ("codex", "esc to interrupt"), ("opencode", "esc interrupt")]
)
def test_interrupted_turn_is_a_turn_that_ended(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str, offer: str
) -> None:
    pane, session, _ = appear(hooked_lab, hooked_daemon, AGENTS[key])
    pane.submit("please MOCK:hang=600")  # longer than anybody waits here: nothing but Escape ends it
    until(state_is(hooked_daemon, session, "busy"), PATIENCE, "it is busy")
    pane.wait_for(offer)  # a key pressed before is lost; its hook comes sooner
    pane.press("Escape")
    if key == "opencode":
        pane.wait_for("again to interrupt")
        pane.press("Escape")
    until(state_is(hooked_daemon, session, "idle"), PATIENCE, "it is idle")
    eligible(hooked_daemon, session)


def test_tool_that_lives_on_after_escape_keeps(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    """Codex calls it a background terminal; its turn is over, its work is not."""
    pane, session, _ = appear(hooked_lab, hooked_daemon, AGENTS["codex"])
    pane.submit("please MOCK:sleep=600")
    until(lambda: child_named(pane, "sleep"), PATIENCE, "its tool runs")
    pane.wait_for(r"Working \([1-9]")  # sooner, and Escape ends the tool with the turn
    pane.press("Escape")
    until(state_is(hooked_daemon, session, "idle"), PATIENCE, "it is idle")
    verdict, _, gates = hooked_daemon.explain(session)
    assert verdict == "keep"
    assert gates["children"][0] == "keep"


def test_two_in_one_directory_stay_two_over_a_restart(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    agent, daemon = AGENTS["codex"], hooked_daemon
    panes = [hooked_lab.start(agent) for _ in range(2)]
    until(lambda: len(ours(hooked_lab, daemon)) == 2, PATIENCE, "both are on the roll")
    for pane in panes:
        pane.submit("hello")
    for pane in panes:
        pane.wait_for("MOCK-REPLY")
    ids = ours(hooked_lab, daemon)
    talks = {daemon.session(one)["AgentSessionId"] for one in ids}
    assert len(talks) == 2
    daemon.restart(signal.SIGKILL)
    assert ours(hooked_lab, daemon) == ids
    assert {daemon.session(one)["AgentSessionId"] for one in ids} == talks
    for one in ids:
        until(state_is(daemon, one, "idle"), PATIENCE, "it is still idle")
        eligible(daemon, one)


async def test_killed_one_leaves_the_roll_at_once(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    _, session, _ = await asyncio.to_thread(appear, hooked_lab, hooked_daemon, AGENTS["codex"])
    leader = hooked_daemon.session(session)["Leader"]
    gone: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    async with client(hooked_daemon.bus.address) as caller:
        await caller.bus.subscribe(
            Match(NAME, interface=f"{NAME}.Manager", member="SessionRemoved"),
            lambda _: gone.set_result(time.monotonic()),
        )
        began = time.monotonic()
        os.kill(leader, signal.SIGKILL)
        after = await gone - began
    print(f"codex left the roll {after * 1000:.0f} ms after SIGKILL")
