"""`musterctl gate` and `claim`, through the real program and the real daemon."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from helpers.installation import Installation
from musterd.ctl.text import clock, user_name

from .conftest import Enrol

Start = Callable[..., str]


@pytest.fixture
def start(musterd: Installation) -> Iterator[Start]:
    """`claim start` with these options; what it claims is abandoned afterwards."""
    with ExitStack() as stack:

        def claim(session_id: str, task: str = "make the tests pass", *args: str) -> str:
            outcome = musterd.ctl("claim", "start", "--session", session_id, "--task", task, *args)
            assert (outcome.status, outcome.stderr) == (0, ""), outcome
            claim_id = outcome.stdout.strip()
            stack.callback(musterd.ctl, "claim", "abandon", claim_id)
            return claim_id

        yield claim


def phase_of(musterd: Installation, claim_id: str) -> str:
    return next(str(claim["Phase"]) for claim in musterd.json("claim") if claim["Claim"] == claim_id)


# The gate


def test_the_gate_is_shown(musterd: Installation) -> None:
    shown = musterd.ctl("gate").stdout.splitlines()
    assert shown[0] == "Stop gate: shadow, nothing is held, the history shows what would be"
    assert shown[-1].startswith("Claims: ")
    told = musterd.json("gate")
    assert (told["Mode"], told["KillSwitch"]) == ("shadow", False)


def test_its_mode_is_set_and_shown(musterd: Installation) -> None:
    for mode in ("enforce", "off", "shadow"):
        assert musterd.ctl("gate", "mode", mode, "--why", f"a test of {mode}").stdout == ""
        assert musterd.ctl("gate", "mode").stdout == f"{mode}\n"
        assert musterd.json("gate", "mode") == {"Mode": mode}
        told = musterd.ctl("gate", "history", "-n", "1").stdout
        assert f"  {user_name(os.getuid())} " in told
        assert f"a test of {mode}" in told


def test_it_shows_who_set_it_since_when_and_why(musterd: Installation) -> None:
    try:
        musterd.ctl("gate", "mode", "enforce", "--why", "the trial\x1b[2J went well")
        musterd.ctl("gate", "kill-switch", "on")
        shown = musterd.ctl("gate").stdout.splitlines()
        told = musterd.json("gate")
    finally:
        musterd.ctl("gate", "kill-switch", "off")
        musterd.ctl("gate", "mode", "shadow")
    me = user_name(os.getuid())
    assert shown[1].startswith(f"Mode: set by {me} on {clock(told['ModeUSec'])}; ")
    assert shown[1].endswith(" ago: the trial\\e[2J went well")
    assert shown[2].startswith(f"Kill switch: on, set by {me} on {clock(told['KillSwitchUSec'])}; ")
    assert shown[2].endswith(" ago: no reason given")
    assert (told["ModeUID"], told["ModeWhy"]) == (os.getuid(), "the trial\x1b[2J went well")
    assert (told["KillSwitchUID"], told["KillSwitchWhy"]) == (os.getuid(), "no reason given")


def test_its_kill_switch_is_set_and_shown(musterd: Installation) -> None:
    try:
        assert musterd.ctl("gate", "kill-switch", "on").stdout == ""
        assert musterd.ctl("gate", "kill-switch").stdout == "on\n"
        assert "kill switch is on: nothing is held, whatever the mode (shadow)" in musterd.ctl("gate").stdout
        assert "Stop gate: kill switch is on" in musterd.ctl("status").stdout
        assert "- stop gate: mode shadow, but the kill switch is on" in musterd.ctl("doctor").stdout
    finally:
        musterd.ctl("gate", "kill-switch", "off")
    assert musterd.json("gate", "kill-switch") == {"KillSwitch": False}
    kinds = [event["Kind"] for event in musterd.json("gate", "history", "-n", "2")]
    assert kinds == ["kill-switch", "kill-switch"]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("off", "- stop gate: mode off: no turn is ever held"),
        ("shadow", "✓ stop gate: mode shadow: it could hold, and writes down what it would do"),
        ("enforce", "✓ stop gate: mode enforce: it holds owners of unfinished claims"),
    ],
)
def test_doctor_says_whether_it_holds(musterd: Installation, mode: str, said: str) -> None:
    musterd.ctl("gate", "mode", mode)
    try:
        assert said in musterd.ctl("doctor").stdout.splitlines()
    finally:
        musterd.ctl("gate", "mode", "shadow")


def test_the_gate_is_part_of_the_daemons_status(musterd: Installation) -> None:
    assert "Stop gate: shadow, nothing is held" in musterd.ctl("status").stdout
    assert musterd.json("status")["StopGate"] == musterd.json("gate")


# Claims


def test_a_claim_is_made_and_done(musterd: Installation, enrol: Enrol, start: Start) -> None:
    session_id = enrol()
    claim_id = start(session_id)
    (claim,) = [claim for claim in musterd.json("claim", "list") if claim["Claim"] == claim_id]
    assert claim == {
        "Claim": claim_id,
        "Session": session_id,
        "Task": "make the tests pass",
        "Phase": "active",
        "DeadlineUSec": 0,
        "HoldsUsed": 0,
        "HoldsAllowed": 3,
    }
    assert musterd.json("status", session_id)["Claims"] == [claim_id]
    assert musterd.ctl("claim", "done", claim_id).stdout == ""
    assert phase_of(musterd, claim_id) == "done"
    assert musterd.json("status", session_id)["Claims"] == []


def test_budget_and_deadline_are_as_asked(musterd: Installation, enrol: Enrol, start: Start) -> None:
    before = time.time_ns() // 1000
    start(session_id := enrol(), "x", "--budget", "large", "--deadline", "1h 30min")
    (claim,) = musterd.json("claim", "list", session_id)
    assert claim["HoldsAllowed"] == 10
    assert before <= claim["DeadlineUSec"] - 5400 * 1_000_000 <= time.time_ns() // 1000


def test_claims_are_a_table_for_people(musterd: Installation, enrol: Enrol, start: Start) -> None:
    session_id = enrol()
    claim_id = start(session_id, "fix\x1b[2J it", "--deadline", "2h")
    heading, row = musterd.ctl("claim", "list", session_id).stdout.splitlines()
    assert heading.split() == ["CLAIM", "SESSION", "PHASE", "HELD", "DEADLINE", "TASK"]
    assert row.split()[:6] == [claim_id, session_id, "active", "0", "of", "3"]
    assert " in 1h " in row
    assert row.endswith(" fix [2J it")
    (alone,) = musterd.ctl("claim", "list", "--no-legend", session_id).stdout.splitlines()
    assert alone.startswith(f"{claim_id} ")
    assert musterd.ctl("claim", "list", enrol()).stdout == "No claims.\n"


def test_claims_of_a_session_are_part_of_its_status(
    musterd: Installation, enrol: Enrol, start: Start
) -> None:
    session_id = enrol()
    first, second = start(session_id, "one"), start(session_id, "two", "--deadline", "2h")
    musterd.ctl("claim", "done", first)
    shown = [line.strip() for line in musterd.ctl("status", session_id).stdout.splitlines()]
    at = next(number for number, line in enumerate(shown) if line.startswith("Claims: "))
    assert shown[at].startswith(f"Claims: {second}: two (active, held 0 of 3 times, until ")
    assert shown[at + 1] == f"{first}: one (done, held 0 of 3 times)"


def test_a_claim_keeps_its_session_from_being_reaped(
    musterd: Installation, enrol: Enrol, start: Start
) -> None:
    session_id = enrol()
    claim_id = start(session_id)
    gates = {gate["Name"]: gate["Evidence"] for gate in musterd.json("explain", session_id)["Gates"]}
    assert gates["pending"] == f"claim not done: {claim_id}"


def test_a_checklist_is_given_and_ticked(musterd: Installation, enrol: Enrol, start: Start) -> None:
    claim_id = start(enrol(), "x", "--item", "write it", "--item", "test it")
    assert musterd.ctl("claim", "update", "--tick", "write it", claim_id).status == 0
    refused = musterd.ctl("claim", "update", "--tick", "ship it", claim_id)
    assert refused.status == 1
    assert "ship it" in refused.stderr
    assert musterd.ctl("claim", "update", "--task", "y", "--item", "ship it", claim_id).status == 0
    assert musterd.ctl("claim", "update", "--tick", "ship it", claim_id).status == 0


def test_a_claim_whose_checklist_is_refused_is_none(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    outcome = musterd.ctl("claim", "start", "--session", session_id, "--task", "x", "--item", "y" * 5000)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert musterd.json("claim", "list", session_id) == []


def test_a_claim_is_abandoned_by_the_beginning_of_its_id(
    musterd: Installation, enrol: Enrol, start: Start
) -> None:
    claim_id = start(enrol())
    assert musterd.ctl("claim", "abandon", claim_id[:-1]).status == 0
    assert phase_of(musterd, claim_id) == "abandoned"


def test_in_a_session_nothing_needs_to_be_named(musterd: Installation) -> None:
    """As an agent does it in its shell."""
    script = """
        id=$($CTL register)
        $CTL claim start --task 'the parser' --json
        $CTL claim update --task 'the whole parser'
        $CTL claim done
        $CTL --json claim list .
        $CTL claim done
        $CTL release "$id"
    """
    environ = {**musterd.environ, "CTL": " ".join(musterd.ctl_command())}
    done = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=True)
    made, (listed,) = _documents(done.stdout)
    assert (listed["Claim"], listed["Task"], listed["Phase"]) == (made["Claim"], "the whole parser", "done")
    assert done.stderr.startswith(f"musterctl: Session '{listed['Session']}' has no active claim.\n")


def _documents(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    first, end = json.JSONDecoder().raw_decode(text)
    return first, json.loads(text[end:])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["claim", "done"], "This shell runs in no session."),
        (["claim", "done", "nothing"], "There is no claim 'nothing'."),
        (["claim", "start", "--task", "x", "--session", "nobody"], "No session 'nobody' is on the roll."),
        (["claim", "list", "nobody"], "No session 'nobody' is on the roll."),
    ],
)
def test_what_is_not_there_is_1(musterd: Installation, args: list[str], said: str) -> None:
    outcome = musterd.ctl(*args)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr.splitlines()[0] == f"musterctl: {said}"
    assert outcome.stderr.splitlines()[1].startswith("Hint: ")


def test_of_several_claims_one_has_to_be_named(musterd: Installation, enrol: Enrol, start: Start) -> None:
    session_id = enrol()
    first = {start(session_id)[0]}
    for _ in range(15):  # ids begin with few letters: soon two begin alike
        if (claim_id := start(session_id))[0] in first:
            break
        first.add(claim_id[0])
    outcome = musterd.ctl("claim", "done", claim_id[0])
    assert (outcome.status, outcome.stdout) == (1, "")
    assert f"'{claim_id[0]}' is the beginning of several ids: " in outcome.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["gate", "mode", "sometimes"],
        ["gate", "kill-switch", "maybe"],
        ["gate", "nonsense"],
        ["claim", "start"],
        ["claim", "start", "--task", "x", "--budget", "huge"],
        ["claim", "start", "--task", "x", "--deadline", "soon"],
        ["claim", "start", "--task", "x", "--deadline", "0"],
        ["claim", "update", "x"],
    ],
)
def test_misuse_is_2(musterd: Installation, args: list[str]) -> None:
    outcome = musterd.ctl(*args)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("musterctl")
    assert "Traceback" not in outcome.stderr
