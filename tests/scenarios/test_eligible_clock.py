"""Sessions that must become eligible after a suspend, or once the clock was set, under the daemon.

Each is looked at before more time passes: the daemon knows no better when something was than it looked.
"""

import signal

import pytest

from helpers.programs import PATIENCE, until

from .stage import Stage

MINUTE = 60
HOUR = 60 * MINUTE


def test_suspended_for_an_hour_and_left_alone_since(waiting: Stage) -> None:
    agent = waiting.agent("idle").turn()
    waiting.moves.suspend(HOUR)
    agent.is_kept_by("quiet")
    waiting.moves.let_pass(11 * MINUTE)
    agent.becomes_eligible()


def test_suspended_when_it_was_quiet_for_long(waiting: Stage) -> None:
    agent = waiting.agent("quiet").turn()
    waiting.moves.let_pass(HOUR)
    agent.becomes_eligible()
    waiting.moves.suspend(8 * HOUR)
    agent.becomes_eligible()


def test_suspended_time_and_again(waiting: Stage) -> None:
    """It is a notebook."""
    agent = waiting.agent("nap").turn()
    for _ in range(4):
        waiting.moves.let_pass(2 * MINUTE)
        agent.is_kept_by("quiet")
        waiting.moves.suspend(HOUR)
    waiting.moves.let_pass(3 * MINUTE)
    agent.becomes_eligible()


def test_suspended_in_a_turn_that_ended_since(waiting: Stage) -> None:
    agent = waiting.agent("resumed").turn().busy("think @go")
    waiting.moves.suspend(HOUR)
    agent.go_on("go")
    until(lambda: "Done: think @go" in agent.screen(), "it is done", PATIENCE)
    agent.is_kept_by("quiet")
    waiting.moves.let_pass(11 * MINUTE)
    agent.becomes_eligible()


def test_suspended_since_somebody_typed_who_is_away(waiting: Stage) -> None:
    agent = waiting.agent("away").turn()
    agent.is_typed_at("think 0.1")
    until(lambda: "Done: think 0.1" in agent.screen(), "it is done", PATIENCE)
    waiting.moves.suspend(HOUR)
    agent.is_kept_by("present")
    waiting.moves.let_pass(16 * MINUTE)
    agent.becomes_eligible()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_daemon_restarted_after_a_suspend(waiting: Stage, number: int) -> None:
    agent = waiting.agent("restarted").turn()
    waiting.moves.suspend(HOUR)
    waiting.daemon.restart(number)
    agent.is_kept_by("quiet")
    waiting.moves.let_pass(11 * MINUTE)
    agent.becomes_eligible()


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
def test_clock_set_while_it_is_idle(waiting: Stage, step: int) -> None:
    agent = waiting.agent("idle").turn()
    waiting.moves.let_pass(2 * HOUR)
    agent.becomes_eligible()
    waiting.moves.set(step)
    agent.is_kept_by("quiet")
    waiting.moves.let_pass(11 * MINUTE)
    agent.becomes_eligible()


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
def test_turn_after_the_clock_was_set(waiting: Stage, step: int) -> None:
    agent = waiting.agent("again").turn()
    waiting.moves.set(step)
    agent.is_never_eligible()
    waiting.moves.let_pass(HOUR + MINUTE)
    agent.turn("think 0.1")
    agent.is_kept_by("quiet")
    waiting.moves.let_pass(11 * MINUTE)
    agent.becomes_eligible()
