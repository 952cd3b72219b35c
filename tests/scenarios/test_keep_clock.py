"""Sessions that must be kept though its machine was suspended, or the clock set, under the daemon."""

import signal

import pytest

from helpers.programs import PATIENCE, until

from .stage import Stage

MINUTE = 60
HOUR = 60 * MINUTE

AT_WORK = [
    ("thinking with no output", "think 600", "turn"),
    ("a quiet long build", "tool 600", "children"),
    ("a permission dialog", "ask", "screen"),
]


@pytest.mark.parametrize(("story", "line", "gate"), AT_WORK)
def test_suspended_at_work(waiting: Stage, story: str, line: str, gate: str) -> None:
    agent = waiting.agent("asleep", hooks=True).turn().busy(line)
    waiting.moves.suspend(HOUR)
    agent.is_kept_by(gate)
    waiting.moves.let_pass(HOUR)
    agent.is_kept_by("turn")


def test_suspended_for_an_hour_right_after_its_turn(waiting: Stage) -> None:
    agent = waiting.agent("idle").turn()
    waiting.moves.let_pass(HOUR)
    agent.becomes_eligible()
    agent.turn("think 0.1")
    waiting.moves.suspend(HOUR)
    agent.is_kept_by("quiet")


def test_suspended_for_an_hour_right_after_its_start(waiting: Stage) -> None:
    agent = waiting.agent("young").turn()
    waiting.moves.suspend(HOUR)
    agent.is_kept_by("young")


def test_suspended_for_an_hour_right_after_somebody_typed(waiting: Stage) -> None:
    agent = waiting.agent("attended").turn()
    agent.is_typed_at()
    waiting.moves.suspend(HOUR)
    agent.is_kept_by("present")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_daemon_restarted_after_a_suspend(waiting: Stage, number: int) -> None:
    agent = waiting.agent("restarted").turn()
    waiting.moves.suspend(HOUR)
    waiting.daemon.restart(number)
    agent.is_kept_by("quiet")


@pytest.mark.parametrize(("story", "line", "gate"), AT_WORK[:2])
@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
def test_clock_set_at_work(waiting: Stage, story: str, line: str, gate: str, step: int) -> None:
    agent = waiting.agent("set").turn().busy(line)
    waiting.moves.set(step)
    agent.is_kept_by(gate)
    waiting.moves.let_pass(3 * HOUR)
    agent.is_kept_by("turn")


def test_clock_set_back_and_a_turn_since(waiting: Stage) -> None:
    """Which of its words came last cannot be told by their stamps."""
    agent = waiting.agent("back").turn()
    waiting.moves.set(-HOUR)
    agent.say("think 0.1")
    until(lambda: "Done: think 0.1" in agent.screen(), "it is done", PATIENCE)
    waiting.moves.let_pass(3 * HOUR)
    agent.is_kept_by("turn")
    assert "the clock was set back" in agent.explain()[2]["turn"][1]


def test_clock_set_forward_right_after_its_turn(waiting: Stage) -> None:
    agent = waiting.agent("forward").turn()
    waiting.moves.set(HOUR)
    agent.is_kept_by("quiet")


def test_clock_set_forward_right_after_somebody_typed(waiting: Stage) -> None:
    agent = waiting.agent("typing").turn()
    agent.is_typed_at()
    waiting.moves.set(HOUR)
    agent.is_kept_by("present")
