"""What utterances make of a session, in whatever order they arrive."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import MINUTE, NOW, session
from musterd.core.event import AgentEvent, EventKind
from musterd.core.life import MAX_OTHERS, heard, is_worth_saving, merged, revived
from musterd.core.session import Agent, Session, Source, State
from musterd.core.state import format_session, parse_session
from musterd.core.turn import MAX_SUBAGENTS, Subagent, Turn, fold

K = EventKind


def fresh(**changes: Any) -> Session:
    return session(turn=Turn(), state=State.STARTING, agent_session_id="", **changes)


def told(start: Session, *events: AgentEvent) -> Session:
    for event in events:
        start = heard(start, event, Source.HOOK)
    return start


def turn_made(at: int) -> str:
    """The id of a turn, as Codex makes them (UUID, version 7)."""
    return str(UUID(int=at // 1000 << 80 | 7 << 76 | 2 << 62))


EARLIER, LATER = turn_made(NOW - 20_000), turn_made(NOW - 10_000)


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
        ("both at once, of turns unnamed", [event(K.TURN_START, 5), event(K.SETTLED, 5)], State.BUSY),
        (
            "one turn begins and ends at once",
            [event(kind, 5, turn_id="1") for kind in (K.TURN_START, K.WORK, K.SETTLED)],
            State.IDLE,
        ),
        (
            "one turn ends at once, and the next begins",
            [
                event(kind, 5, turn_id=name)
                for kind, name in ((K.TURN_START, "1"), (K.SETTLED, "1"), (K.TURN_START, "2"))
            ],
            State.BUSY,
        ),
        (
            "one turn ends as it works",
            [event(K.TURN_START, 5, turn_id="1"), event(K.SETTLED, 5, turn_id="1"), event(K.WORK, 5)],
            State.BUSY,
        ),
        (
            "a start is told late, after that of the next turn",
            [
                event(K.TURN_START, NOW + 2, turn_id=LATER),
                event(K.TURN_START, NOW + 3, turn_id=EARLIER),
                event(K.SETTLED, NOW + 4, turn_id=LATER),
            ],
            State.IDLE,
        ),
        (
            "a start is told late, after that of the next turn, which works",
            [
                event(K.TURN_START, NOW + 2, turn_id=LATER),
                event(K.TURN_START, NOW + 3, turn_id=EARLIER),
                event(K.SETTLED, NOW + 4, turn_id=EARLIER),
            ],
            State.BUSY,
        ),
        (
            "work of a turn that has settled is told late",
            [
                *(event(kind, 1, turn_id="1") for kind in (K.TURN_START, K.SETTLED)),
                *(event(kind, 30, turn_id="1") for kind in (K.TURN_START, K.WORK)),
            ],
            State.IDLE,
        ),
        (
            "work of the next turn",
            [event(K.TURN_START, 1, turn_id="1"), event(K.SETTLED, 2, turn_id="1"), event(K.WORK, 30)],
            State.BUSY,
        ),
        (
            "work of the next turn, of which all else got lost",
            [
                event(K.TURN_START, 1, turn_id="1"),
                event(K.SETTLED, 2, turn_id="1"),
                event(K.WORK, 30, turn_id="2"),
            ],
            State.BUSY,
        ),
        (
            "the end of an earlier turn is told again",
            [
                *(event(kind, 3, turn_id="2") for kind in (K.TURN_START, K.SETTLED)),
                event(K.SETTLED, 2, turn_id="1"),
                event(K.WORK, 30, turn_id="1"),
            ],
            State.BUSY,
        ),
        (
            "the clock was set back between two turns",
            [
                event(K.TURN_START, NOW - MINUTE, turn_id=LATER),
                event(K.TURN_START, NOW - MINUTE + 1, turn_id=EARLIER),
                event(K.SETTLED, NOW - MINUTE + 2, turn_id=EARLIER),
            ],
            State.IDLE,
        ),
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
    assert [subagent.id for subagent in turn.subagents] == ["b"]


def test_subagent_may_outlive_the_turn_that_started_it() -> None:
    turn = told(fresh(), event(K.TURN_START, 1), event(K.SUBAGENT_START, 2, subagent="a")).turn
    assert fold(turn, event(K.SETTLED, 3)).has_subagent("a")


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
    assert told(two, event(K.SESSION_START, 2, agent_session_id="t1")).agent_session_id == "t2"


def said_by(name: str, kind: EventKind, at: int, **more: Any) -> AgentEvent:
    return event(kind, at, agent_session_id=name, **more)


A_WORKS = said_by("a", K.TURN_START, 1)
A_WORKS_ON = said_by("a", K.WORK, 6)
A_ENDS = said_by("a", K.SETTLED, 20)
A_IS_BACK = said_by("a", K.SESSION_START, 6)
B_BEGINS = said_by("b", K.SESSION_START, 3)
B_ENDS = (said_by("b", K.WORK, 4), said_by("b", K.SETTLED, 5))


@pytest.mark.parametrize(
    ("story", "events", "state"),
    [
        ("a works while b has its turn", [A_WORKS, B_BEGINS, *B_ENDS], State.BUSY),
        ("a works while b is new", [A_WORKS, B_BEGINS], State.BUSY),
        ("both are at rest", [A_WORKS, B_BEGINS, *B_ENDS, A_ENDS], State.IDLE),
        ("a ends before b does", [A_WORKS, B_BEGINS, said_by("a", K.SETTLED, 4), *B_ENDS], State.IDLE),
        ("a is left for b", [A_WORKS, said_by("a", K.SESSION_END, 2), B_BEGINS, *B_ENDS], State.IDLE),
        ("a is told late that it was left", [A_WORKS, B_BEGINS, said_by("a", K.SESSION_END, 2)], State.IDLE),
        ("a ends without proof", [A_WORKS, B_BEGINS, *B_ENDS, said_by("a", K.TURN_END, 6)], State.IDLE),
        ("a asks while b is at rest", [B_BEGINS, *B_ENDS, said_by("a", K.WAITING, 6)], State.WAITING),
        (
            "a was answered, and goes on",
            [B_BEGINS, *B_ENDS, A_WORKS_ON, said_by("a", K.WAITING, 7), said_by("a", K.WORK, 8)],
            State.BUSY,
        ),
        ("a begins beside b", [B_BEGINS, A_WORKS_ON], State.BUSY),
        ("a begins and ends beside b, which is new", [B_BEGINS, A_WORKS_ON, A_ENDS], State.IDLE),
        ("a begins and ends beside b", [B_BEGINS, *B_ENDS, A_WORKS_ON, A_ENDS], State.IDLE),
        ("its end is told before its work", [B_BEGINS, *B_ENDS, A_ENDS, A_WORKS_ON], State.IDLE),
        ("its late work is told when b is there", [A_WORKS, said_by("a", K.SETTLED, 2), B_BEGINS,
         said_by("a", K.WORK, 1)], State.IDLE),
        ("b's end does not end a's", [A_WORKS, B_BEGINS, said_by("b", K.SETTLED, 30)], State.BUSY),
        ("c ends beside them", [A_WORKS, B_BEGINS, *B_ENDS, said_by("c", K.SETTLED, 6)], State.BUSY),
        ("a is back, and works on", [A_WORKS, B_BEGINS, *B_ENDS, A_IS_BACK], State.BUSY),
        ("a is back, and ended", [A_WORKS, B_BEGINS, *B_ENDS, A_IS_BACK, A_ENDS],
         State.IDLE),
    ],
)  # fmt: skip
def test_each_conversation_of_a_process_has_a_turn_of_its_own(
    story: str, events: list[AgentEvent], state: State
) -> None:
    known = told(fresh(), *events)
    assert known.state is state
    assert parse_session(format_session(known)) == known


def test_subagent_that_speaks_like_a_conversation_is_its_parents() -> None:
    start = event(K.SUBAGENT_START, 2, agent_session_id="a", subagent="s")
    busy = told(fresh(), A_WORKS, start, said_by("s", K.WORK, 3))
    assert (busy.others, busy.turn.subagents) == ((), (Subagent("s", 3),))
    assert told(busy, said_by("s", K.SETTLED, 4)).turn.subagents == ()
    assert told(busy, said_by("s", K.SUBAGENT_END, 4, subagent="s")).turn.subagents == ()


def test_subagent_of_another_conversation_is_not_of_this_one() -> None:
    both = told(fresh(), A_WORKS, B_BEGINS, said_by("a", K.SUBAGENT_START, 4, subagent="s"))
    assert (both.turn.subagents, both.others[0].turn.has_subagent("s")) == ((), True)


def test_conversations_without_number_are_some() -> None:
    names = [f"a{number}" for number in range(5 * MAX_OTHERS)]
    resting = told(fresh(), B_BEGINS, *(said_by(name, K.SETTLED, 4) for name in names))
    assert len(resting.others) == MAX_OTHERS
    busy = told(resting, *(said_by(name, K.WORK, 5) for name in names))
    assert len(busy.others) == MAX_OTHERS
    assert told(busy, *(said_by(name, K.SETTLED, 6) for name in names)).state is State.BUSY


def test_word_of_another_conversation_is_activity() -> None:
    idle = told(fresh(created_usec=0), B_BEGINS, *B_ENDS)
    assert told(idle, said_by("a", K.NOTE, 77)).last_activity_usec == 77


@pytest.mark.parametrize(
    ("story", "known", "kind", "source", "name"),
    [
        ("a fork's records", "t1", K.NOTE, Source.TRANSCRIPT, "t1"),
        ("records of the conversation before", "t1", K.TURN_START, Source.TRANSCRIPT, "t1"),
        ("a tool of another conversation", "t1", K.NOTE, Source.HOOK, "t1"),
        ("the files that it holds", "t1", K.NOTE, Source.PROCESS, "t2"),
        ("a new conversation", "t1", K.SESSION_START, Source.HOOK, "t2"),
        ("a prompt to another conversation", "t1", K.TURN_START, Source.HOOK, "t2"),
        ("its own work elsewhere", "t1", K.WORK, Source.HOOK, "t1"),
        ("first named by its transcript", "", K.NOTE, Source.TRANSCRIPT, "t2"),
        ("first named by the files that it holds", "", K.NOTE, Source.PROCESS, "t2"),
        ("first named by its work", "", K.WORK, Source.HOOK, "t2"),
    ],
)
def test_who_may_rename(story: str, known: str, kind: EventKind, source: Source, name: str) -> None:
    before = session(agent_session_id=known, turn=Turn())
    assert heard(before, said_by("t2", kind, NOW), source).agent_session_id == name


def test_files_that_it_holds_rename_it_even_when_the_clock_was_set_back() -> None:
    note = said_by("t2", K.NOTE, NOW - 90 * MINUTE)
    assert heard(session(), note, Source.PROCESS).agent_session_id == "t2"


def test_records_of_a_fork_tell_nothing_of_this_session() -> None:
    known = session()
    old = replace(said_by("fork", K.WORK, known.started_usec - 1), cwd="/old", title="old", version="0.1")
    assert heard(known, old, Source.TRANSCRIPT) == known


@pytest.mark.parametrize(
    ("story", "known", "at", "source", "version"),
    [
        ("its package was read", "1.5.2", NOW, Source.HOOK, "1.5.2"),
        ("nothing was known", "", NOW, Source.HOOK, "9.9"),
        ("its transcript, of now", "", NOW, Source.TRANSCRIPT, "9.9"),
        ("its transcript, of a process before", "", NOW - 121 * MINUTE, Source.TRANSCRIPT, ""),
        ("its transcript, but its package was read", "1.5.2", NOW, Source.TRANSCRIPT, "1.5.2"),
    ],
)
def test_whose_word_of_the_version_counts(
    story: str, known: str, at: int, source: Source, version: str
) -> None:
    assert heard(session(version=known), event(K.NOTE, at, version="9.9"), source).version == version


def test_resumed_session_has_the_version_of_its_new_program() -> None:
    assert revived(session(version="1.0"), session(version=""), NOW).version == ""


FIRST_TURN = (event(K.TURN_START, 1), event(K.SUBAGENT_START, 2, subagent="a"), event(K.SETTLED, 3))
SECOND_TURN = (event(K.TURN_START, 5), event(K.SETTLED, 7))


@pytest.mark.parametrize(
    ("story", "events", "is_overdue"),
    [
        ("its own turn only", [], False),
        ("the end of its turn, told twice", [event(K.SETTLED, 4)], False),
        ("a later turn that goes on", [event(K.TURN_START, 5)], False),
        ("a later turn without proof of its end", [event(K.TURN_START, 5), event(K.TURN_END, 7)], False),
        ("a later turn without a word", SECOND_TURN, True),
        ("a word within the later turn", [event(K.TURN_START, 5), event(K.WORK, 6, subagent="a"),
         event(K.SETTLED, 7)], False),
        ("a word after it", [*SECOND_TURN, event(K.WORK, 8, subagent="a")], False),
        ("a word of another subagent", [*SECOND_TURN, event(K.WORK, 8, subagent="b")], True),
        ("a word of before, told late", [*SECOND_TURN, event(K.WORK, 1, subagent="a")], True),
    ],
)  # fmt: skip
def test_subagent_is_overdue_after_a_silent_later_turn(
    story: str, events: list[AgentEvent], is_overdue: bool
) -> None:
    turn = told(fresh(), *FIRST_TURN, *events).turn
    assert [subagent.is_overdue for subagent in turn.subagents] == [is_overdue]


def test_ended_session_stays_ended() -> None:
    assert told(session().ended("exited", 5), event(K.TURN_START, 9)).state is State.ENDED


def test_signs_of_work_are_not_worth_a_write() -> None:
    busy = told(fresh(), event(K.TURN_START, 1))
    assert not is_worth_saving(busy, told(busy, event(K.WORK, 2)))
    assert is_worth_saving(busy, told(busy, event(K.SETTLED, 2)))
    beside = told(busy, B_BEGINS, A_WORKS)
    assert not is_worth_saving(beside, told(beside, said_by("a", K.WORK, 9)))
    assert is_worth_saving(beside, told(beside, said_by("a", K.SETTLED, 9)))


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
    assert late.turn.has_subagent("a")


def test_subagents_without_number_are_some() -> None:
    names = [str(number) for number in range(5 * MAX_SUBAGENTS)]
    busy = told(fresh(), *(event(K.SUBAGENT_START, 1, subagent=name) for name in names))
    assert len(busy.turn.subagents) == MAX_SUBAGENTS + 1
    assert told(busy, *(event(K.SUBAGENT_END, 2, subagent=name) for name in names)).turn.subagents
    assert told(busy, event(K.SUBAGENT_START, 7, subagent="new")).turn.subagents[-1].heard == 7
