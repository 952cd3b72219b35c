"""Sessions that must become eligible: what kept them is over, or was never theirs."""

import os
import signal
import subprocess
import time

import pytest

from helpers.programs import PATIENCE, until
from helpers.repository import Repository

from .stage import Stage, kill


@pytest.mark.parametrize(
    ("story", "line"),
    [
        ("a thought", "think"),
        ("a tool", "tool 0.1"),
        ("an interrupted turn", "interrupt 0.1"),
        ("an MCP helper that is idle", "helper"),
    ],
)
@pytest.mark.parametrize("hooks", [True, False], ids=["with hooks", "without"])
def test_turn_that_ended(on_stage: Stage, story: str, line: str, hooks: bool) -> None:
    on_stage.agent("ended", hooks=hooks).turn(line).becomes_eligible()


@pytest.mark.parametrize("lost", ["Stop", "UserPromptSubmit", "SessionStart", "PostToolUse", "PreToolUse"])
def test_hook_that_got_lost_is_made_up_for_by_the_record(on_stage: Stage, lost: str) -> None:
    on_stage.agent("lost", hooks=True, STANDIN_LOST=lost).turn("tool 0.1").becomes_eligible()


@pytest.mark.parametrize(
    ("story", "during", "after", "gate"),
    [
        ("the dialog is answered", "ask", "yes", "turn"),
        ("the draft is deleted", "draft not sent", "undraft", "pending"),
        ("the clock stands still", "clock 12:00", "still", "screen"),
        ("the torn line is completed", "torn", "mend", "transcript"),
        ("the helper is quiet again", "helper busy", "helper quiet", "children"),
    ],
)
def test_once_it_is_over(on_stage: Stage, story: str, during: str, after: str, gate: str) -> None:
    agent = on_stage.agent("over", hooks=True).turn()
    agent.say(during)
    until(lambda: agent.explain()[2][gate][0] == "keep", f"{gate} keeps", PATIENCE)
    agent.say(after)
    agent.becomes_eligible()


def test_build_that_ended(on_stage: Stage) -> None:
    agent = on_stage.agent("build").turn("background sleep 600")
    agent.is_kept_by("children")
    kill(agent.child("sleep"))
    agent.becomes_eligible()


@pytest.mark.parametrize(("hooks", "gate"), [(True, "subagent"), (False, "turn")], ids=["hooks", "none"])
def test_subagent_that_ended(on_stage: Stage, hooks: bool, gate: str) -> None:
    agent = on_stage.agent("subagent", hooks=hooks).turn().say("subagent @done")
    until(lambda: "Done: subagent @done" in agent.screen(), "its turn is over", PATIENCE)
    until(lambda: agent.explain()[2][gate][0] == "keep", f"{gate} keeps", PATIENCE)
    agent.go_on("done")
    agent.becomes_eligible()


def test_compaction_that_ended(on_stage: Stage) -> None:
    agent = on_stage.agent("compacted", hooks=True).turn()
    agent.say("compact @done")
    until(lambda: agent.explain()[2]["recovery"][0] == "keep", "it compacts", PATIENCE)
    agent.go_on("done")
    agent.becomes_eligible()


def test_turn_after_one_without_an_end(on_stage: Stage) -> None:
    agent = on_stage.agent("vanished").turn()
    agent.busy("vanish")
    agent.turn("think 0.1").becomes_eligible()


def test_queued_input_that_was_taken(on_stage: Stage) -> None:
    agent = on_stage.agent("taken").turn()
    agent.busy("think @first").say("think 0.6")
    agent.go_on("first")
    until(lambda: "Done: think 0.6" in agent.screen(), "both are done", PATIENCE)
    agent.becomes_eligible()


def test_quiet_children_that_were_there_from_the_start(on_stage: Stage) -> None:
    agent = on_stage.agent("furnished", STANDIN_CHILD="sleep 600")
    until(lambda: agent.explain()[2]["young"][0] == "pass", "it is old enough", PATIENCE)
    wait_for_age(agent.child("sleep"))
    agent.turn().becomes_eligible()


def wait_for_age(pid: int) -> None:
    """What starts within a second of the first turn may be its work."""
    began = os.stat(f"/proc/{pid}").st_mtime
    until(lambda: time.time() - began > 2.5, "it is two seconds old", PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_daemon_restarted_and_two_new_looks(on_stage: Stage, number: int) -> None:
    agent = on_stage.agent("restarted").turn()
    agent.becomes_eligible()
    with on_stage.calm():
        on_stage.daemon.restart(number)
        assert "only once" in agent.explain()[2]["transcript"][1]
    agent.becomes_eligible()


def test_turn_that_ended_while_the_daemon_was_away(on_stage: Stage) -> None:
    agent = on_stage.agent("away").turn()
    agent.busy("think @done")
    on_stage.daemon.stop()
    agent.go_on("done")
    until(lambda: "Done: think @done" in agent.screen(), "it is done", PATIENCE)
    on_stage.daemon.start()
    agent.becomes_eligible()


def test_neighbour_in_a_split_pane_works(on_stage: Stage) -> None:
    idle = on_stage.agent("idle").turn()
    on_stage.agent("neighbour", beside=idle.pane).turn().busy("think 600")
    idle.becomes_eligible()


def test_spinner_in_another_pane(on_stage: Stage) -> None:
    idle = on_stage.agent("still").turn()
    on_stage.agent("spinning").turn().say("spinner")
    idle.becomes_eligible()


def test_attached_but_away(on_stage: Stage) -> None:
    agent = on_stage.agent("left-alone").turn()
    on_stage.tmux.attach()
    on_stage.tmux.run("select-window", "-t", agent.pane)
    agent.becomes_eligible()


def test_tall_pane(on_stage: Stage) -> None:
    agent = on_stage.agent("tall").turn()
    on_stage.tmux.run("resize-window", "-t", agent.pane, "-y", "300")
    agent.becomes_eligible()


def test_long_output_above(on_stage: Stage) -> None:
    on_stage.agent("output").say("paint 200").turn().becomes_eligible()


def test_status_line_that_changed_once(on_stage: Stage) -> None:
    agent = on_stage.agent("status").turn()
    agent.say("status 3 % context left")
    until(lambda: "3 %" in agent.screen(), "it is drawn", PATIENCE)
    agent.becomes_eligible()


@pytest.mark.parametrize("act", ["rotate"])
def test_record_that_was_replaced(on_stage: Stage, act: str) -> None:
    agent = on_stage.agent("replaced").turn()
    agent.say(act)
    agent.becomes_eligible()


def test_record_that_was_truncated_and_a_new_turn(on_stage: Stage) -> None:
    agent = on_stage.agent("truncated").turn()
    agent.say("truncate")
    agent.turn("think 0.1").becomes_eligible()


def test_pin_that_was_taken_off(on_stage: Stage) -> None:
    agent = on_stage.agent("unpinned").turn()
    on_stage.daemon.call("SetProtected", "sb", agent.id, "true")
    agent.is_kept_by("protected")
    on_stage.daemon.call("SetProtected", "sb", agent.id, "false")
    agent.becomes_eligible()


def test_hold_whose_program_was_killed(on_stage: Stage) -> None:
    agent = on_stage.agent("released").turn()
    hold = subprocess.Popen(
        on_stage.musterctl("hold", agent.id), env=dict(on_stage.daemon.env()), stderr=subprocess.DEVNULL
    )
    until(lambda: agent.explain()[2]["inhibited"][0] == "keep", "it is held", PATIENCE)
    hold.kill()
    hold.wait()
    agent.becomes_eligible()


def test_twin_that_left(on_stage: Stage) -> None:
    first = on_stage.agent("first").turn()
    thread = on_stage.daemon.session(first.id)["AgentSessionId"]
    second = on_stage.agent("second", STANDIN_THREAD=thread)
    second.say("quit")
    first.becomes_eligible()


def test_crash_of_another_one(on_stage: Stage) -> None:
    idle, crashing = on_stage.agent("idle").turn(), on_stage.agent("crashing").turn()
    crashing.say("crash")
    until(
        lambda: crashing.id not in [s["Id"] for s in on_stage.daemon.sessions()],
        "it is off the roll",
        PATIENCE,
    )
    idle.becomes_eligible()


def test_work_that_was_committed(tidy: Stage) -> None:
    agent = tidy.agent("committed")
    repository = Repository(agent.project)
    repository.write("new", "")
    agent.turn().is_kept_by("worktree")
    repository.commit()
    agent.becomes_eligible()


def test_uncommitted_work_that_is_only_noted(on_stage: Stage) -> None:
    agent = on_stage.agent("noted")
    Repository(agent.project).write("new", "")
    agent.turn().becomes_eligible()
    found = ("pass", "1 uncommitted file, by policy not a gate")
    until(lambda: agent.explain()[2]["worktree"] == found, "nothing else keeps it")


def test_directory_in_no_repository(tidy: Stage) -> None:
    tidy.agent("plain").turn().becomes_eligible()


def test_resumed_and_grown_old_again(growing: Stage) -> None:
    agent = growing.typed_agent("resumed").turn()
    agent.becomes_eligible()
    agent.end_and_resume().turn("think 0.1").becomes_eligible()


@pytest.mark.parametrize("step", [3600, -2], ids=["set forward", "set back"])
def test_turn_after_the_clock_was_set(on_stage: Stage, step: int) -> None:
    agent = on_stage.agent("set").turn()
    on_stage.set_clock_while_away(step)

    def ends_one() -> bool:
        """Perhaps with a stamp that is older than that of the one before."""
        agent.say("think 0.1")
        until(lambda: "Done: think 0.1" in agent.screen(), "it is done", PATIENCE)
        return agent.explain()[2]["turn"][0] == "pass"

    until(ends_one, "one ended since", PATIENCE)
    agent.becomes_eligible()
