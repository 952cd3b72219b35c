"""What utterances make of a session, in whatever order they arrive."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import session
from musterd.core.event import AgentEvent, EventKind
from musterd.core.life import heard, is_worth_saving, merged
from musterd.core.session import Agent, Session, Source, State
from musterd.core.turn import MAX_SUBAGENTS, Turn, fold

K = EventKind


def fresh(**changes: Any) -> Session:
    return session(turn=Turn(), state=State.STARTING, agent_session_id="", **changes)


def told(start: Session, *events: AgentEvent) -> Session:
    for event in events:
        start = heard(start, event, Source.HOOK)
    return start


def event(kind: EventKind, at: int, **more: Any) -> AgentEvent:
    return AgentEvent(kind, at, **more)


@pytest.mark.parametrize(
    ("story", "events", "state"),
    [
        ("started", [event(K.SESSION_START, 1)], State.IDLE),
        ("said nothing of work", [event(K.NOTE, 1)], State.STARTING),
        ("prompted", [event(K.TURN_START, 1)], State.BUSY),
        ("answered", [event(K.TURN_START, 1), event(K.SETTLED, 2)], State.IDLE),
        ("ended without proof", [event(K.TURN_START, 1), event(K.TURN_END, 2)], State.IDLE),
        ("prompted again", [event(K.SETTLED, 2), event(K.TURN_START, 3)], State.BUSY),
        ("a tool runs on", [event(K.SETTLED, 2), event(K.WORK, 3)], State.BUSY),
        ("asks", [event(K.TURN_START, 1), event(K.WAITING, 2)], State.WAITING),
        ("was answered", [event(K.TURN_START, 1), event(K.WAITING, 2), event(K.ANSWERED, 3)], State.BUSY),
        (
            "goes on after asking",
            [event(K.TURN_START, 1), event(K.WAITING, 2), event(K.WORK, 3)],
            State.BUSY,
        ),
        ("interrupted while asking", [event(K.WAITING, 2), event(K.SETTLED, 3)], State.IDLE),
        ("a subagent stops", [event(K.TURN_START, 1), event(K.SETTLED, 2, subagent="a")], State.BUSY),
        ("the end comes late", [event(K.TURN_START, 5), event(K.SETTLED, 2)], State.BUSY),
        ("the start comes late", [event(K.SETTLED, 5), event(K.TURN_START, 2)], State.IDLE),
        ("both at once", [event(K.SETTLED, 5), event(K.TURN_START, 5)], State.BUSY),
        (
            "end of an earlier turn is told after the start of the next",
            [
                event(K.TURN_START, 1, turn_id="1"),
                event(K.TURN_START, 3, turn_id="2"),
                event(K.SETTLED, 4, turn_id="1"),
            ],
            State.BUSY,
        ),
    ],
)
def test_state(story: str, events: list[AgentEvent], state: State) -> None:
    assert told(fresh(), *events).state is state


def test_subagents_are_counted_by_name() -> None:
    turn = told(
        fresh(),
        event(K.TURN_START, 1),
        event(K.SUBAGENT_START, 2, subagent="a"),
        event(K.SUBAGENT_START, 3, subagent="b"),
        event(K.SUBAGENT_END, 4, subagent="a"),
    ).turn
    assert turn.subagents == {"b"}


def test_subagent_may_outlive_the_turn_that_started_it() -> None:
    turn = told(fresh(), event(K.TURN_START, 1), event(K.SUBAGENT_START, 2, subagent="a")).turn
    assert fold(turn, event(K.SETTLED, 3)).subagents == {"a"}


def test_background_work_is_what_the_latest_stop_named() -> None:
    busy = told(fresh(), event(K.SETTLED, 1, pending=("npm run dev",)))
    assert busy.turn.pending == ("npm run dev",)
    assert told(busy, event(K.SETTLED, 2, pending=())).turn.pending == ()
    assert told(busy, event(K.SETTLED, 2)).turn.pending == ("npm run dev",)


def test_recovery_lasts_until_it_ends() -> None:
    compacting = told(fresh(), event(K.TURN_START, 1), event(K.RECOVERY_START, 2))
    assert compacting.turn.recovering == 2
    assert told(compacting, event(K.RECOVERY_END, 3)).turn.recovering == 0
    assert told(compacting, event(K.SETTLED, 3)).turn.recovering == 0


def test_first_word_names_the_conversation() -> None:
    named = told(fresh(transcript=""), event(K.WORK, 1, agent_session_id="t1", transcript="/t1.jsonl"))
    assert (named.agent_session_id, named.transcript) == ("t1", "/t1.jsonl")


def test_new_conversation_in_the_same_process_begins_from_nothing() -> None:
    one = told(
        fresh(), event(K.TURN_START, 1, agent_session_id="t1"), event(K.SETTLED, 2, agent_session_id="t1")
    )
    two = told(one, event(K.SESSION_START, 3, agent_session_id="t2"))
    assert (two.agent_session_id, two.transcript, two.resume_command, two.turn.settled) == ("t2", "", (), 0)


def test_late_word_of_the_conversation_before_does_not_bring_it_back() -> None:
    two = told(
        fresh(), event(K.TURN_START, 1, agent_session_id="t1"), event(K.TURN_START, 3, agent_session_id="t2")
    )
    assert told(two, event(K.SESSION_START, 2, agent_session_id="t1")) == two


def test_end_of_another_conversation_changes_nothing() -> None:
    busy = told(fresh(), event(K.TURN_START, 1, agent_session_id="t1"))
    assert told(busy, event(K.SETTLED, 2, agent_session_id="t2")) == busy


def test_work_of_another_conversation_in_the_same_process_keeps() -> None:
    idle = told(
        fresh(), event(K.TURN_START, 1, agent_session_id="t1"), event(K.SETTLED, 2, agent_session_id="t1")
    )
    assert told(idle, event(K.WORK, 3, agent_session_id="t2")).state is State.BUSY


def test_ended_session_stays_ended() -> None:
    assert told(session().ended("exited", 5), event(K.TURN_START, 9)).state is State.ENDED


def test_signs_of_work_are_not_worth_a_write() -> None:
    busy = told(fresh(), event(K.TURN_START, 1))
    assert not is_worth_saving(busy, told(busy, event(K.WORK, 2)))
    assert is_worth_saving(busy, told(busy, event(K.SETTLED, 2)))


def test_registering_again_adds_what_is_said_and_keeps_the_rest() -> None:
    known = session(title="release", agent=Agent.OTHER)
    after = merged(known, session(id="zzz", title="", cwd="/new", agent=Agent.CODEX))
    assert (after.id, after.title, after.cwd, after.agent) == (known.id, "release", "/new", Agent.CODEX)


EVENTS = st.lists(
    st.builds(
        AgentEvent,
        st.sampled_from([K.TURN_START, K.WORK, K.TURN_END, K.SETTLED, K.NOTE]),
        st.integers(min_value=1, max_value=50),
    ),
    max_size=20,
)


@given(EVENTS)
def test_order_of_arrival_does_not_matter_to_whether_it_works(events: list[AgentEvent]) -> None:
    def folded(order: list[AgentEvent]) -> tuple[bool, bool]:
        turn = Turn()
        for said in order:
            turn = fold(turn, said)
        return turn.is_working, turn.is_settled

    assert folded(events) == folded(sorted(events, key=lambda e: e.at)) == folded(events[::-1])


@given(EVENTS)
def test_settled_means_that_no_start_of_work_is_as_late(events: list[AgentEvent]) -> None:
    turn = Turn()
    for said in events:
        turn = fold(turn, said)
    starts = [e.at for e in events if e.kind in (K.TURN_START, K.WORK)]
    assert not turn.is_settled or turn.settled > max(starts, default=0)


# Those of one process for each hook call come in any order; two within one microsecond do not come at all.
ANY = st.lists(
    st.builds(AgentEvent, st.sampled_from(K), st.integers(min_value=1, max_value=50)),
    max_size=20,
    unique_by=lambda e: e.at,
)


@given(ANY.flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_order_of_arrival_does_not_matter_to_what_keeps_it(
    orders: tuple[list[AgentEvent], list[AgentEvent]],
) -> None:
    def folded(order: list[AgentEvent]) -> tuple[int, int, bool]:
        turn = Turn()
        for said in order:
            turn = fold(turn, said)
        return turn.waiting, turn.recovering, turn.is_settled

    events, arrived = orders
    assert folded(arrived) == folded(sorted(events, key=lambda e: e.at))


def test_background_subagent_that_is_told_of_late_keeps() -> None:
    late = told(fresh(), event(K.SETTLED, 5), event(K.SUBAGENT_START, 3, subagent="a"))
    assert late.turn.subagents == {"a"}


def test_subagents_without_number_are_some() -> None:
    names = [str(number) for number in range(5 * MAX_SUBAGENTS)]
    busy = told(fresh(), *(event(K.SUBAGENT_START, 1, subagent=name) for name in names))
    assert len(busy.turn.subagents) == MAX_SUBAGENTS + 1
    assert told(busy, *(event(K.SUBAGENT_END, 2, subagent=name) for name in names)).turn.subagents
