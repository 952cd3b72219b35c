"""The text of the state files says all, and nothing else is read as one."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import state_values
from helpers.builders import session
from musterd.core.case import Mode
from musterd.core.claim import Claim, ClaimId
from musterd.core.inhibitor import Inhibitor, What
from musterd.core.inhibitor import Mode as Inhibition
from musterd.core.session import Session
from musterd.core.state import (
    Modes,
    format_claim,
    format_inhibitor,
    format_modes,
    format_session,
    parse_claim,
    parse_inhibitor,
    parse_modes,
    parse_session,
)
from musterd.core.stopgate import GateMode


@given(state_values.sessions)
@example(session(uid=0))
def test_a_session_is_read_as_it_was_written(value: Session) -> None:
    assert parse_session(format_session(value)) == value


def test_a_file_of_an_older_version_is_read() -> None:
    """What was added since has its default."""
    value = session(environ=(), resumes=(), others=())
    written = format_session(value)
    assert "environ" not in written
    assert parse_session(written) == value


@given(state_values.claims)
@example(Claim(ClaimId("c1"), 0, "a task"))
def test_a_claim_is_read_as_it_was_written(value: Claim) -> None:
    assert parse_claim(format_claim(value)) == value


@given(state_values.inhibitors)
def test_an_inhibitor_is_read_as_it_was_written(value: Inhibitor) -> None:
    assert parse_inhibitor(format_inhibitor(value)) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [("what", '["nap"]'), ("what", '"reap"'), ("mode", '"perhaps"'), ("uid", '"1"'), ("session", "1")],
)
def test_what_is_no_inhibitor_of_ours_is_refused(key: str, text: str) -> None:
    held = Inhibitor(1, frozenset({What.REAP}), "vim", "editing", Inhibition.BLOCK, 1000, 7, "")
    lines = [line for line in format_inhibitor(held).splitlines() if not line.startswith(f"{key} =")]
    for more in ([f"{key} = {text}"], []):
        with pytest.raises(ValueError, match=r"."):
            parse_inhibitor("\n".join([*lines, *more]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 2\n[claim]\n",
        'version = 1\n[claim]\nid = "c1"\nuid = 1\ntask = "t"\nphase = "later"\nbudget = "small"\n',
        'version = 1\n[claim]\nid = "c1"\nuid = 1\ntask = "t"\nphase = "done"\nbudget = "huge"\n',
        'version = 1\n[claim]\nid = 1\nuid = 1\ntask = "t"\nphase = "done"\nbudget = "small"\n',
        'version = 1\n[claim]\nid = "c1"\nuid = 1\ntask = "t"\nphase = "done"\nbudget = "small"\nx = 1\n',
        'version = 1\n[claim]\nid = "c1"\nuid = 1\ntask = "t"\nphase = "done"\nbudget = "small"\ndone = 1\n',
    ],
)
def test_what_is_no_claim_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_claim(text)


def test_a_mode_file_from_before_the_gate_means_shadow() -> None:
    modes = parse_modes('version = 1\n[modes]\nreaper = "on"\n')
    assert (modes.reaper, modes.gate, modes.kill_switch) == (Mode.ON, GateMode.SHADOW, False)


@given(state_values.modes)
def test_modes_are_read_as_they_were_written(value: Modes) -> None:
    assert parse_modes(format_modes(value)) == value


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_a_flipped_bit_is_another_session_or_a_plain_refusal(place: int, bit: int) -> None:
    text = bytearray(format_session(session()), "ascii")
    text[place % len(text)] ^= 1 << bit
    with suppress(ValueError):
        parse_session(text.decode())


@pytest.mark.parametrize(
    "line", ['"x" = 1', "version = 2", "uid = '0'", "[[[", "leader = 1", "agent = 'nobody'", "turn = []"]
)
def test_what_is_not_ours_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_session(line + "\n")
