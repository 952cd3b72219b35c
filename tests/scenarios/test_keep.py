"""Sessions that must be kept, whatever the pressure: each a story on real processes."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.daemon import CallFailed
from helpers.processes import sleepers
from helpers.programs import PATIENCE, until
from helpers.repository import Repository
from musterd.core.state import format_session, parse_session
from musterd.host.process import HeldProcess

from .stage import Stage, kill


@pytest.mark.parametrize(
    ("story", "line", "gate"),
    [
        ("a quiet long build", "tool 600", "children"),
        ("thinking with no output", "think 600", "turn"),
        ("a permission dialog", "ask", "screen"),
        ("a turn that will be interrupted", "interrupt 600", "turn"),
        ("an end of turn without a record", "vanish", "turn"),
    ],
)
def test_open_turn_keeps(on_stage: Stage, story: str, line: str, gate: str) -> None:
    agent = on_stage.agent("turn").turn()
    agent.busy(line)
    agent.is_kept_by("turn")
    if gate == "children":
        agent.child("sleep")
    agent.is_kept_by(gate)


@pytest.mark.parametrize(
    ("story", "line", "gate"),
    [
        ("a background shell", "background sleep 600", "children"),
        (
            "a dev server that waits for the network",
            "background python3 -m http.server -b 127.0.0.1 0",
            "children",
        ),
        ("a tool that left the process tree", "fork 600", "children"),
        ("half a line at the end of the record", "torn", "transcript"),
        ("a second thread works on", "subagent 600", "subagent"),
    ],
)
def test_what_a_turn_leaves_behind_keeps(on_stage: Stage, story: str, line: str, gate: str) -> None:
    agent = on_stage.agent("behind", hooks=gate == "subagent").turn(line)
    agent.is_kept_by(gate)


@pytest.mark.parametrize(
    ("story", "line", "gate"),
    [
        ("a draft in the composer", "draft not sent yet", "pending"),
        ("a clock in the status line", "clock 12:00", "screen"),
        ("a spinner in the status line", "spinner", "screen"),
        ("compaction", "compact 600", "recovery"),
    ],
)
def test_idle_turn_is_not_all(on_stage: Stage, story: str, line: str, gate: str) -> None:
    agent = on_stage.agent("idle", hooks=True).turn()
    agent.becomes_eligible()
    agent.say(line)
    until(lambda: agent.explain()[2][gate][0] == "keep", f"{gate} keeps", PATIENCE)
    agent.is_kept_by(gate)


def test_second_thread_of_which_no_hook_tells(on_stage: Stage) -> None:
    """It is there as a record that its process has open."""
    agent = on_stage.agent("threads").turn().say("subagent 600")
    until(lambda: "Done: subagent 600" in agent.screen(), "its turn is over", PATIENCE)
    agent.is_kept_by("turn")
    on_stage.daemon.restart(signal.SIGKILL)
    agent.is_kept_by("turn")


def test_queued_input_begins_the_next_turn(on_stage: Stage) -> None:
    agent = on_stage.agent("queue").turn()
    agent.busy("think @first").say("think 600")
    agent.go_on("first")
    until(lambda: "Done: think @first" in agent.screen(), "the first is done", PATIENCE)
    agent.is_never_eligible()


def test_tool_that_waits_for_the_network_uses_no_cpu(on_stage: Stage) -> None:
    agent = on_stage.agent("network").turn()
    agent.busy("tool 600")
    assert agent.child("sleep")
    agent.is_kept_by("children")


def test_helper_at_work_keeps(on_stage: Stage) -> None:
    agent = on_stage.agent("helper").turn("helper busy")
    agent.is_kept_by("children")


def test_nested_session_keeps_the_one_around_it(on_stage: Stage) -> None:
    outer = on_stage.agent("outer").turn()
    (outer.project / "inner").write_text(f"tail -f /dev/null | {shlex.join(on_stage.command)}\n")
    outer.turn("background sh inner")
    outer.is_kept_by("children")


def test_two_sessions_with_one_conversation(on_stage: Stage) -> None:
    first = on_stage.agent("first").turn()
    thread = on_stage.daemon.session(first.id)["AgentSessionId"]
    second = on_stage.agent("second", STANDIN_THREAD=thread)
    until(
        lambda: on_stage.daemon.session(second.id)["AgentSessionId"] or (second.explain() and False),
        "known",
        PATIENCE,
    )
    for agent in (first, second):
        agent.is_never_eligible()


@pytest.mark.parametrize("act", ["rotate", "truncate"])
def test_record_that_was_replaced_is_looked_at_anew(on_stage: Stage, act: str) -> None:
    agent = on_stage.agent("record").turn()
    agent.becomes_eligible()
    with on_stage.calm():
        agent.say(act)
        until(lambda: agent.explain()[2]["transcript"][0] != "pass", "the change is seen", PATIENCE)


def test_record_that_is_gone_keeps(on_stage: Stage) -> None:
    agent = on_stage.agent("gone").turn()
    Path(on_stage.daemon.session(agent.id)["Transcript"]).unlink()
    agent.is_kept_by("transcript")


def test_hook_missing_while_it_works(on_stage: Stage) -> None:
    agent = on_stage.agent("unhooked", hooks=True, STANDIN_LOST="UserPromptSubmit PreToolUse").turn()
    agent.busy("tool 600")
    agent.is_kept_by("turn")


def test_hooks_disabled_while_it_works(on_stage: Stage) -> None:
    agent = on_stage.agent("disabled").turn()
    agent.busy("think 600")
    agent.is_kept_by("turn")


def test_version_that_nobody_checked(on_stage: Stage) -> None:
    agent = on_stage.agent("newer", command=on_stage.newer, STANDIN_VERSION="0.999.0").turn()
    agent.is_kept_by("unsupported")


def test_daemon_restarted_in_the_midst_of_a_turn(on_stage: Stage) -> None:
    agent = on_stage.agent("restart").turn()
    agent.busy("think 600")
    for number in (signal.SIGTERM, signal.SIGKILL):
        on_stage.daemon.restart(number)
        until(lambda: agent.state == "busy", "it is on the roll as before", PATIENCE)
        agent.is_kept_by("turn")


def test_turn_that_began_while_the_daemon_was_away(on_stage: Stage) -> None:
    agent = on_stage.agent("away").turn()
    on_stage.daemon.stop()
    agent.say("think 600")
    until(lambda: "Working on 'think 600'" in agent.screen(), "it works", PATIENCE)
    on_stage.daemon.start()
    agent.is_kept_by("turn")


def test_never_a_prompt(on_stage: Stage) -> None:
    on_stage.agent("fresh").is_never_eligible()


def test_protected_by_its_user(on_stage: Stage) -> None:
    agent = on_stage.agent("pinned").turn()
    on_stage.daemon.call("SetProtected", "sb", agent.id, "true")
    agent.is_kept_by("protected")


def test_protected_by_its_directory(on_stage: Stage) -> None:
    on_stage.agent("guarded").turn().is_kept_by("protected")


def test_protected_by_its_title(on_stage: Stage) -> None:
    agent = on_stage.agent("titled").turn()
    on_stage.daemon.register(agent.leader, agent="codex", title="the precious one")
    agent.is_kept_by("protected")


@pytest.mark.parametrize("whom", [lambda agent: [agent], lambda _: ["--all"]], ids=["one", "all"])
def test_held_by_a_program(on_stage: Stage, whom: Callable[[str], list[str]]) -> None:
    agent = on_stage.agent("held").turn()
    agent.becomes_eligible()
    hold = subprocess.Popen(
        on_stage.musterctl("hold", *whom(agent.id)),
        env=dict(on_stage.daemon.env()),
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: on_stage.daemon.get("NInhibitors"), "it is held", PATIENCE)
        agent.is_kept_by("inhibited")
    finally:
        hold.terminate()
        hold.wait()


def test_program_replaced_by_another(on_stage: Stage) -> None:
    """`exec` keeps pid and start time: only the image tells."""
    project = on_stage.project("registered")
    script = f"cd {project}; read go; exec sleep 600"
    leader = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, text=True)
    try:
        session = on_stage.daemon.register(leader.pid, agent="codex")
        assert leader.stdin
        leader.stdin.write("go\n")
        leader.stdin.flush()
        until(
            lambda: on_stage.daemon.explain(session)[2]["identity"][0] == "keep",
            "it is another one",
            PATIENCE,
        )
        assert on_stage.daemon.explain(session)[:2] == ("keep", "identity")
    finally:
        leader.kill()
        leader.communicate()


def test_remote_session(on_stage: Stage) -> None:
    args = [
        "host",
        "s",
        "elsewhere",
        "cwd",
        "s",
        "/srv",
        "agent",
        "s",
        "codex",
        "agent-session-id",
        "s",
        "t1",
    ]
    session, _ = on_stage.daemon.call("RegisterSession", "a{sv}", 4, *args)
    for _ in range(3):
        verdict, _, gates = on_stage.daemon.explain(str(session))
        assert (verdict, gates["identity"][0]) == ("keep", "unknown")


def test_registered_by_hand(on_stage: Stage) -> None:
    with sleepers(1) as (program,):
        session = on_stage.daemon.register(program.pid)
        for _ in range(3):
            verdict, _, gates = on_stage.daemon.explain(session)
            assert (verdict, gates["unsupported"][0]) == ("keep", "keep")


def test_tall_pane_with_a_draft_far_from_its_foot(on_stage: Stage) -> None:
    agent = on_stage.agent("tall").turn()
    on_stage.tmux.run("resize-window", "-t", agent.pane, "-y", "300")
    agent.say("draft not sent yet")
    until(lambda: "not sent yet" in agent.screen(), "it is drawn", PATIENCE)
    agent.is_kept_by("pending")


def test_split_pane_is_its_own_screen(on_stage: Stage) -> None:
    idle = on_stage.agent("left").turn()
    working = on_stage.agent("right", beside=idle.pane).turn()
    working.busy("think 600")
    working.is_kept_by("turn")


def test_young(strict: Stage) -> None:
    strict.agent("young").turn().is_kept_by("young")


def test_just_resumed(strict: Stage) -> None:
    strict.typed_agent("resumed").turn().end_and_resume().turn("think 0.1").is_kept_by("young")


def test_clock_set_back_when_its_turn_ended(on_stage: Stage) -> None:
    """What it began before may have a stamp that looks newer, and the other way round."""
    agent = on_stage.agent("back").turn()
    agent.becomes_eligible()

    def work() -> None:
        agent.say("think 0.1")
        until(lambda: "Done: think 0.1" in agent.screen(), "it is done", PATIENCE)

    on_stage.set_clock_while_away(-3600, work)
    agent.is_kept_by("turn")
    assert "the clock was set back" in agent.explain()[2]["turn"][1]


def test_clock_set_forward_since_somebody_typed(watchful: Stage) -> None:
    """By the clock, that is longer ago than it is."""
    agent = watchful.agent("forward").turn()
    os.write(watchful.tmux.attach(), b"\n")
    watchful.set_clock_while_away(2 * 3600)
    agent.is_kept_by("present")


@pytest.mark.parametrize("key", ["start_ticks", "inode"])
def test_pid_that_is_another_programs_now(on_stage: Stage, key: str) -> None:
    """The file says what its leader was; that one is gone, and its number was given out anew."""
    agent, stranger = on_stage.agent("gone").turn(), on_stage.agent("stranger").turn()
    leader, other = agent.leader, stranger.leader
    on_stage.daemon.stop()
    kill(leader)
    file = on_stage.daemon.state / "sessions" / f"{agent.id}.toml"
    session = parse_session(file.read_text())
    with HeldProcess(other) as held:
        recycled = replace(held.ref, **{key: getattr(held.ref, key) - 1})
    on_stage.write_state(f"sessions/{agent.id}.toml", format_session(replace(session, leader=recycled)))
    on_stage.daemon.start()
    assert on_stage.daemon.session(agent.id)["EndedReason"] == "gone-while-away"
    assert agent.id not in [row["Id"] for row in on_stage.daemon.sessions()]
    with pytest.raises(CallFailed):
        on_stage.daemon.call("TerminateSession", "ss", agent.id, "")
    assert stranger.turn("think 0.1").leader == other


def test_attached_and_typing(watchful: Stage) -> None:
    agent = watchful.agent("typing").turn()
    agent.is_typed_at()
    agent.is_kept_by("present")


def test_uncommitted_work_where_it_keeps(tidy: Stage) -> None:
    agent = tidy.agent("uncommitted")
    Repository(agent.project).write("new", "")
    agent.turn().is_kept_by("worktree")
    found = ("keep", "1 uncommitted file")
    until(lambda: agent.explain()[2]["worktree"] == found, "nothing else keeps it")


def test_uncommitted_work_that_git_will_not_tell_of(tidy: Stage) -> None:
    agent = tidy.agent("refused")
    Repository(agent.project).git("config", "core.repositoryformatversion", "9")
    agent.turn().is_kept_by("worktree")
