"""Claims: who owns them, what can be said of them, and what cannot."""

from dataclasses import replace
from typing import Any

import pytest

from helpers.builders import LEADER, MINUTE, NOW, claim, session
from musterd.core.claim import Budget, Owner, Phase, new_claim_id, proven
from musterd.core.claimspec import (
    MAX_ITEM,
    MAX_ITEMS,
    MAX_TASK,
    Changes,
    ClaimSpec,
    changed,
    parse_changes,
    parse_claim_spec,
)
from musterd.core.errors import InvalidArgs
from musterd.core.session import SessionId

OTHER = replace(LEADER, pid=5, start_ticks=9)


@pytest.mark.parametrize(
    ("case", "owner", "now", "speaker", "is_owner"),
    [
        ("the session that claimed it", {}, {}, "thread-1", True),
        ("another session", {}, {"id": SessionId("zzzzzz")}, "thread-1", False),
        ("nobody says who speaks", {}, {}, "", False),
        ("another conversation of its process", {}, {}, "thread-2", False),
        ("the stamp is empty", {"session": SessionId("")}, {}, "thread-1", False),
        ("the stamp has no leader", {"leader": None}, {}, "thread-1", False),
        ("the session is on another host", {}, {"leader": None}, "thread-1", False),
        ("another process", {}, {"leader": OTHER}, "thread-1", False),
        ("another process in the same terminal", {}, {"leader": OTHER}, "thread-1", False),
        (
            "a new conversation in the same process and terminal",
            {"agent_session_id": "t0"},
            {},
            "thread-1",
            True,
        ),
        ("it was claimed before it had an id", {"agent_session_id": ""}, {}, "thread-1", True),
        (
            "a new conversation, and another terminal",
            {"agent_session_id": "t0", "terminal": "tmux:/tmp/x:%7"},
            {},
            "thread-1",
            False,
        ),
        (
            "a new conversation, and no terminal on either side",
            {"agent_session_id": "t0", "terminal": ""},
            {"terminal": ""},
            "thread-1",
            False,
        ),
        ("musterd brought it back", {}, {"leader": OTHER, "resumed_usec": NOW}, "thread-1", True),
        (
            "musterd brought it back before it claimed, and this is yet another",
            {"at": NOW},
            {"leader": OTHER, "resumed_usec": NOW - MINUTE},
            "thread-1",
            False,
        ),
        (
            "brought back with another conversation",
            {"agent_session_id": "t0"},
            {"leader": OTHER, "resumed_usec": NOW},
            "thread-1",
            False,
        ),
    ],
)
def test_owner(
    case: str, owner: dict[str, Any], now: dict[str, Any], speaker: str, *, is_owner: bool
) -> None:
    stamped = claim(owner=replace(claim().owner, **owner))
    found = proven(stamped, session(**now), speaker)
    assert (found is not None) is is_owner, case
    if found:  # the stamp is that of now, and nothing else has changed
        current = session(**now)
        assert (found.owner.leader, found.owner.agent_session_id) == (current.leader, "thread-1")
        assert replace(found, owner=stamped.owner) == stamped


def test_an_unstamped_claim_is_nobodys() -> None:
    assert proven(claim(owner=Owner()), session(), "thread-1") is None


@pytest.mark.parametrize(
    ("case", "changes", "is_open"),
    [
        ("active", {}, True),
        ("with time left", {"deadline": NOW + 1}, True),
        ("past its deadline", {"deadline": NOW}, False),
        ("done", {"phase": Phase.DONE}, False),
        ("abandoned", {"phase": Phase.ABANDONED}, False),
    ],
)
def test_open(case: str, changes: dict[str, Any], *, is_open: bool) -> None:
    assert claim(**changes).is_open(NOW) is is_open, case


def test_budgets_are_three_five_and_ten() -> None:
    assert [budget.holds for budget in Budget] == [3, 5, 10]


def test_spec() -> None:
    values = {"session": "abcdef", "task": "tidy\tup", "budget": "large", "deadline": NOW + 5}
    assert parse_claim_spec(values, NOW) == ClaimSpec("abcdef", "tidy up", Budget.LARGE, NOW + 5)
    assert parse_claim_spec({"task": "x"}, NOW) == ClaimSpec("", "x", Budget.SMALL, 0)


@pytest.mark.parametrize(
    ("values", "mistake"),
    [
        ({}, "'task' is needed"),
        ({"task": ""}, "'task' is empty"),
        ({"task": " \n"}, "'task' is empty"),
        ({"task": 5}, "'task' is not a string"),
        ({"task": "x" * (MAX_TASK + 1)}, f"'task' is longer than {MAX_TASK} bytes"),
        ({"task": "x", "budget": "huge"}, "'budget' is none of small, medium, large"),
        ({"task": "x", "deadline": NOW}, "in the past"),
        ({"task": "x", "deadline": 2**64 - 1}, "'deadline' is not a time"),
        ({"task": "x", "deadline": True}, "'deadline' is not a time"),
        ({"task": "x", "session": 1}, "'session' is not a string"),
        ({"what": 1, "budget": 1}, "unknown key 'what'; 'budget' is none of"),
    ],
)
def test_spec_that_makes_no_sense_is_refused(values: dict[str, object], mistake: str) -> None:
    with pytest.raises(InvalidArgs, match=mistake):
        parse_claim_spec(values, NOW)


@pytest.mark.parametrize(
    ("values", "mistake"),
    [
        ({"phase": "later"}, "'phase' is none of active, done, abandoned"),
        ({"checklist": "x"}, "'checklist' is not a list"),
        ({"checklist": ["x"] * (MAX_ITEMS + 1)}, f"more than {MAX_ITEMS} items"),
        ({"done": ["x" * (MAX_ITEM + 1)]}, f"longer than {MAX_ITEM} bytes"),
        ({"done": [""]}, "'done' is empty"),
        ({"owner": "me"}, "unknown key 'owner'"),
    ],
)
def test_changes_that_make_no_sense_are_refused(values: dict[str, object], mistake: str) -> None:
    with pytest.raises(InvalidArgs, match=mistake):
        parse_changes(values)


@pytest.mark.parametrize(
    ("case", "before", "changes", "after"),
    [
        ("nothing", {}, Changes(), {}),
        ("another task", {}, Changes(task="other"), {"task": "other"}),
        (
            "a checklist",
            {"checklist": ("a",)},
            Changes(checklist=("b", "c", "b")),
            {"checklist": ("b", "c")},
        ),
        ("no checklist any more", {"checklist": ("a",)}, Changes(checklist=()), {"checklist": ()}),
        ("ticked", {"checklist": ("a", "b")}, Changes(done=("a",)), {"checklist": ("b",), "done": ("a",)}),
        ("ticked twice", {"done": ("a",)}, Changes(done=("a", "a")), {"done": ("a",)}),
        (
            "ticked at once",
            {},
            Changes(checklist=("a", "b"), done=("b",)),
            {"checklist": ("a",), "done": ("b",)},
        ),
        ("done", {}, Changes(phase=Phase.DONE), {"phase": Phase.DONE, "finished_usec": NOW}),
        (
            "done again",
            {"phase": Phase.DONE, "finished_usec": 5},
            Changes(phase=Phase.DONE),
            {"phase": Phase.DONE, "finished_usec": 5},
        ),
    ],
)
def test_changed(case: str, before: dict[str, Any], changes: Changes, after: dict[str, Any]) -> None:
    assert changed(claim(**before), changes, NOW) == claim(**{**before, **after}), case


@pytest.mark.parametrize(
    ("before", "changes", "mistake"),
    [
        ({"phase": Phase.DONE}, Changes(phase=Phase.ACTIVE), "is done, and stays so"),
        ({"phase": Phase.ABANDONED}, Changes(phase=Phase.DONE), "is abandoned, and stays so"),
        ({"checklist": ("a",)}, Changes(done=("b",)), "'b' is not on the checklist"),
    ],
)
def test_what_cannot_be_changed(before: dict[str, Any], changes: Changes, mistake: str) -> None:
    with pytest.raises(InvalidArgs, match=mistake):
        changed(claim(**before), changes, NOW)


def test_ids_are_their_own_path_elements() -> None:
    assert {new_claim_id()[0] for _ in range(100)} == {"c"}
