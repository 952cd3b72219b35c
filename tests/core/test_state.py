"""The text of the state files says all, and nothing else is read as one."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import state_values
from helpers.builders import session
from musterd.core.session import Session
from musterd.core.state import Modes, format_modes, format_session, parse_modes, parse_session


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
