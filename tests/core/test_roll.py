"""The roll admits each leader once, within limits; specs and ids are read strictly."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import BOOT, session
from musterd.core.config import LimitsConfig
from musterd.core.errors import AlreadyRegistered, InvalidArgs, LimitReached, NoSuchSession
from musterd.core.registry import Registry
from musterd.core.session import Agent, PidRef, SessionId
from musterd.core.spec import Spec, new_session_id, parse_spec


def numbered(number: int, **changes: Any) -> Any:
    return session(id=SessionId(f"s{number}"), leader=PidRef(number, number, BOOT), **changes)


def roll(*sessions: Any) -> Registry:
    registry = Registry()
    for one in sessions:
        registry.admit(one)
    return registry


def test_same_leader_is_not_admitted_twice() -> None:
    with pytest.raises(AlreadyRegistered):
        roll(numbered(1), replace(numbered(1), id=SessionId("other")))


def test_pid_of_an_ended_session_may_lead_again() -> None:
    registry = roll(numbered(1))
    registry.put(registry.get("s1").ended("exited", 5))
    again = session(id=SessionId("new"), leader=PidRef(1, 77, BOOT))
    registry.admit(again)
    assert registry.by_leader(PidRef(1, 77, BOOT)) == again
    assert registry.by_leader(PidRef(1, 1, BOOT)) is None


def test_two_sessions_in_one_directory_stay_two() -> None:
    assert len(roll(numbered(1), numbered(2)).current()) == 2


def test_ended_ones_are_past_and_the_latest_comes_first() -> None:
    registry = roll(numbered(1), numbered(2), numbered(3))
    registry.put(registry.get("s1").ended("exited", 5))
    registry.put(registry.get("s2").ended("exited", 9))
    assert [s.id for s in registry.past()] == ["s2", "s1"]
    assert [s.id for s in registry.current()] == ["s3"]


def test_limits_are_per_user_and_in_all() -> None:
    registry = roll(numbered(1), numbered(2), numbered(3, uid=7))
    with pytest.raises(LimitReached, match="User 1000 has 2"):
        registry.check_room(1000, LimitsConfig(sessions_per_user=2))
    registry.check_room(7, LimitsConfig(sessions_per_user=2))
    with pytest.raises(LimitReached, match="3 sessions"):
        registry.check_room(7, LimitsConfig(sessions=3))


def test_unknown_id_is_quoted_in_part_only() -> None:
    with pytest.raises(NoSuchSession) as failure:
        Registry().get("x" * 5000)
    assert len(str(failure.value)) < 120


def test_forgotten_session_leaves_no_trace() -> None:
    registry = roll(numbered(1))
    registry.forget(SessionId("s1"))
    assert len(registry) == 0
    assert registry.by_leader(PidRef(1, 1, BOOT)) is None


def test_spec() -> None:
    assert parse_spec(
        {"agent": "pi", "pid": 7, "cwd": "/w", "resume-command": ["pi"], "labels": []}
    ) == Spec(agent=Agent.PI, pid=7, cwd="/w", resume_command=("pi",))


def test_all_mistakes_of_a_spec_are_told() -> None:
    with pytest.raises(InvalidArgs) as failure:
        parse_spec(
            {"agent": "cat", "pid": -1, "cwd": "here", "colour": 1, "title": "x" * 5000, "labels": "x"}
        )
    assert all(
        word in str(failure.value)
        for word in ("'agent'", "'pid'", "'cwd'", "'colour'", "'title'", "'labels'")
    )


@pytest.mark.parametrize("pid", [1, 2**22, True, "7"])
def test_pid_that_is_none_of_an_agent_is_refused(pid: object) -> None:
    with pytest.raises(InvalidArgs, match="'pid' is "):
        parse_spec({"pid": pid})


@pytest.mark.parametrize(
    "terminal", ["", "tmux:/tmp/tmux-1000/default:%3", "tmux:/tmp/a:b/c:%0", "/dev/pts/4"]
)
def test_terminal(terminal: str) -> None:
    assert parse_spec({"terminal": terminal}).terminal == terminal


@pytest.mark.parametrize("terminal", ["garbage", "pts/4", "tmux:default:%3", "tmux:/tmp/a", "tmux:/tmp/a:3"])
def test_terminal_that_is_none_is_refused(terminal: str) -> None:
    with pytest.raises(InvalidArgs, match="'terminal' is neither"):
        parse_spec({"terminal": terminal})


@pytest.mark.parametrize("value", ["\0", "a" * 4097, 7, None, ["x"]])
def test_text_that_is_not_taken(value: object) -> None:
    with pytest.raises(InvalidArgs):
        parse_spec({"title": value})


@given(
    st.dictionaries(st.text(max_size=20), st.none() | st.booleans() | st.integers() | st.text(max_size=50))
)
def test_any_spec_is_taken_or_refused(values: dict[str, object]) -> None:
    with suppress(InvalidArgs):
        assert isinstance(parse_spec(values), Spec)


def test_ids_are_short_and_start_with_a_letter() -> None:
    ids = {new_session_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(len(i) == 6 and i[0].isalpha() and i.isalnum() for i in ids)
