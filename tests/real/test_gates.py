"""What must keep a real agent, and what must not, through the production wiring."""

import asyncio
import os
import signal
import time

import pytest

from helpers.client import client
from helpers.daemon import NAME, Daemon
from musterd.bus.signals import Match, Signal

from .agents import AGENTS, FOR_EVER, PATIENCE, Lab, until
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
    pane.escape(dialog, state_is(daemon, session, "idle"))  # its hook comes before it is shown


@pytest.mark.parametrize("key", ["pi", "codex", "gemini"])
def test_draft_keeps_and_is_kept(hooked_lab: Lab, hooked_daemon: Daemon, key: str) -> None:
    pane, session, _ = appear(hooked_lab, hooked_daemon, AGENTS[key])
    pane.submit("hello")
    pane.wait_for("MOCK-REPLY")
    eligible(hooked_daemon, session)
    pane.type("not sent yet")

    def is_known() -> bool:
        verdict, _, gates = hooked_daemon.explain(session)
        assert verdict == "keep"
        return gates["pending"] == ("keep", "text is typed but not sent")

    until(is_known, PATIENCE, "its draft keeps it")
    pane.wait_for("not sent yet")  # who draws its screen anew shows less for a moment


@pytest.mark.parametrize(
    ("key", "offer"),
    [("pi", "Working"), ("codex", "esc to interrupt"), ("opencode", "esc (again to )?interrupt")],
)
def test_interrupted_turn_is_a_turn_that_ended(
    hooked_lab: Lab, hooked_daemon: Daemon, key: str, offer: str
) -> None:
    pane, session, _ = appear(hooked_lab, hooked_daemon, AGENTS[key])
    pane.submit(f"please MOCK:hang={FOR_EVER}")
    until(state_is(hooked_daemon, session, "busy"), PATIENCE, "it is busy")
    pane.escape(offer, state_is(hooked_daemon, session, "idle"))
    eligible(hooked_daemon, session)


def test_tool_that_lives_on_after_escape_keeps(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    """Codex calls it a background terminal; its turn is over, its work is not."""
    pane, session, _ = appear(hooked_lab, hooked_daemon, AGENTS["codex"])
    pane.submit(f"please MOCK:sleep={FOR_EVER}")
    until(lambda: child_named(pane, "sleep"), PATIENCE, "its tool runs")
    pane.wait_for("1 background terminal running")  # sooner, and Escape ends the tool with the turn
    pane.escape("esc to interrupt", state_is(hooked_daemon, session, "idle"))
    verdict, _, gates = hooked_daemon.explain(session)
    assert verdict == "keep"
    assert gates["children"][0] == "keep"


def subagent_keeps_until_it_is_done(lab: Lab, daemon: Daemon) -> None:
    """Codex ends the turn that started it before. It thinks: nothing but its own record tells of that."""
    pane, session, _ = appear(lab, daemon, AGENTS["codex"])
    pane.submit("hello")
    pane.wait_for("MOCK-REPLY")
    eligible(daemon, session)
    go = lab.work / "go"
    # For the subagent to read, not its parent.
    message = f"MOCK:file={go} and no more".replace("i", "\\u0069")
    pane.submit('MOCK:call=multi_agent_v1.spawn_agent {"message": "' + message + '"}')
    pane.wait_for("MOCK-DONE")
    ages: set[str] = set()

    def is_looked_at_for_seconds() -> bool:
        ages.add(kept(daemon, session))
        return len(ages) > 4

    until(is_looked_at_for_seconds, PATIENCE, "it is looked at for seconds")
    go.touch()
    eligible(daemon, session)


def kept(daemon: Daemon, session: str) -> str:
    """Its age, in words."""
    verdict, _, gates = daemon.explain(session)
    assert verdict == "keep", gates
    return gates["young"][1]


def test_subagent_of_which_no_hook_tells_keeps_until_it_is_done(lab: Lab, daemon: Daemon) -> None:
    subagent_keeps_until_it_is_done(lab, daemon)


def test_subagent_keeps_until_it_is_done(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    subagent_keeps_until_it_is_done(hooked_lab, hooked_daemon)


def test_two_in_one_directory_stay_two_over_a_restart(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    agent, daemon = AGENTS["codex"], hooked_daemon
    panes = [hooked_lab.start(agent) for _ in range(2)]
    until(lambda: len(ours(hooked_lab, daemon)) == 2, PATIENCE, "both are on the roll")
    for pane in panes:
        pane.submit("hello")
    for pane in panes:
        pane.wait_for("MOCK-REPLY")
    ids = ours(hooked_lab, daemon)
    until(lambda: len(talks(daemon, ids)) == 2, PATIENCE, "each says which conversation it is")
    before = talks(daemon, ids)
    daemon.restart(signal.SIGKILL)
    assert ours(hooked_lab, daemon) == ids
    until(lambda: talks(daemon, ids) == before, PATIENCE, "their conversations are known again")
    for one in ids:
        until(state_is(daemon, one, "idle"), PATIENCE, "it is still idle")
        eligible(daemon, one)
    assert ours(hooked_lab, daemon) == ids
    assert talks(daemon, ids) == before


def talks(daemon: Daemon, ids: list[str]) -> set[str]:
    return {daemon.session(one)["AgentSessionId"] for one in ids} - {""}


async def test_killed_one_leaves_the_roll_at_once(hooked_lab: Lab, hooked_daemon: Daemon) -> None:
    _, session, _ = await asyncio.to_thread(appear, hooked_lab, hooked_daemon, AGENTS["codex"])
    leader = hooked_daemon.session(session)["Leader"]
    gone: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def heard(told: Signal) -> None:
        if told.args[0] == session and not gone.done():
            gone.set_result(time.monotonic())

    async with client(hooked_daemon.bus.address) as caller:
        await caller.bus.subscribe(
            Match(NAME, interface=f"{NAME}.Manager", member="SessionRemoved"),
            heard,
        )
        began = time.monotonic()
        os.kill(leader, signal.SIGKILL)
        after = await gone - began
    print(f"codex left the roll {after * 1000:.0f} ms after SIGKILL")
