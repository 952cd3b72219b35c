"""What happened, as people see it: in a pipe, on a terminal, and of one session on a terminal."""

import string
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.installation import Installation
from helpers.terminal import terminal
from musterd.ctl.client import Properties
from musterd.ctl.history import Entry, lines, setting, show
from musterd.ctl.text import date, width

from .conftest import Enrol

STAMP = date(0)
REAPED = Entry(0, "reaped", "k3v9qd", "session 'k3v9qd' was reaped, /quit; turn: it ended; quiet: an hour")


@pytest.fixture(scope="module", autouse=True)
def colourless() -> Iterator[None]:
    """Also where the tests themselves run on a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        yield


def plain(entry: Entry, room: int, *, whole: bool = False) -> list[str]:
    """Without the stamp."""
    first, *rest = lines(entry, room, whole=whole)
    assert first.startswith(STAMP)
    return [first.removeprefix(STAMP), *rest]


@pytest.mark.parametrize(
    ("case", "room", "whole", "shown"),
    [
        ("in a pipe all is in one line", 0, False, [f"  reaped      k3v9qd  {REAPED.text}"]),
        ("and also of one session", 0, True, [f"  reaped      k3v9qd  {REAPED.text}"]),
        ("on a terminal it is what happened", 100, False,
         ["  reaped      k3v9qd  session 'k3v9qd' was reaped, /quit …"]),
        ("of one session the reasons are below", 100, True, [
            "  reaped      k3v9qd  session 'k3v9qd' was reaped, /quit",
            "                                     turn: it ended",
            "                                     quiet: an hour",
        ]),
        ("what is too wide goes on below, indented", 60, True, [
            "  reaped      k3v9qd  session 'k3v9qd' was",
            "                                reaped, /quit",
            "                              turn: it ended",
            "                              quiet: an hour",
        ]),
    ],
)  # fmt: skip
def test_an_event_is_shown(case: str, room: int, shown: list[str], *, whole: bool) -> None:
    assert plain(REAPED, room, whole=whole) == shown, case


@pytest.mark.parametrize(
    ("options", "said"), [({}, "No events.\n"), ({"no_legend": True}, ""), ({"json": True}, "[]\n")]
)
def test_that_nothing_happened_is_said(
    options: dict[str, bool], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show([], Namespace(**options))
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("values", [{}, {"ModeUID": 0, "ModeUSec": 0, "ModeWhy": ""}])
def test_of_what_nobody_has_set_nothing_is_told(values: Properties) -> None:
    assert setting(values, "Mode", 0) == ""


def test_whose_an_event_is_stands_in_a_column_and_the_daemons_own_are_nobodys() -> None:
    assert plain(Entry(0, "state", "k3v9qd", "busy", "alice"), 0) == ["  state       k3v9qd  alice     busy"]
    assert plain(Entry(0, "mode", "", "off", ""), 0) == ["  mode        -       -         off"]


def test_an_event_without_a_text_is_still_a_line() -> None:
    assert plain(Entry(0, "state", "k3v9qd", ""), 100) == ["  state       k3v9qd  "]


def test_nothing_that_a_terminal_might_act_on_comes_through() -> None:
    assert plain(Entry(0, "\x1b[2J", "\r", "\x07"), 100) == [r"  \e[2J       \r      \x07"]


@given(
    st.lists(st.text(string.ascii_letters, max_size=12), max_size=30),
    st.integers(66, 200),
)
def test_no_line_is_wider_than_the_terminal(words: list[str], room: int) -> None:
    entry = Entry(0, "registered", "k3v9qd", " ".join(words), "alice")
    assert all(width(line) <= room for line in lines(entry, room))


def test_on_a_terminal_events_are_short_and_those_of_one_session_are_complete(
    musterd: Installation, enrol: Enrol, tmp_path: Path
) -> None:
    (tmp_path / "a; b").mkdir()
    session_id = enrol("--cwd", str(tmp_path / "a; b"))

    def shown(*args: str) -> str:
        environ = {**musterd.environ, "COLUMNS": "1000"}
        with terminal(*musterd.ctl_command("events", *args), environ=environ) as screen:
            assert screen.wait() == 0
            return screen.text

    (short,) = (line for line in shown().splitlines() if str(tmp_path) in line)
    assert short.endswith("a …")
    (complete, below) = (line for line in shown(session_id).splitlines() if line.endswith(("/a", " b")))
    assert str(tmp_path) in complete
    assert below.strip() == "b"
