"""What people see: times, sizes, and nothing that acts on their terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musterd.ctl import text

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界 🙂", "Grüße, 世界 🙂"),
        ("\x1b[2J\x1b]0;title\x07", r"\e[2J\e]0;title\x07"),
        ("two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
        ("\x9b31m", r"\x9b31m"),  # CSI in one character
        ("user\u202egnp.exe", r"user\u202egnp.exe"),  # reads backwards
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\u2028line\u00a0space", r"\u2028line\xa0space"),
        ("\udcff lone surrogate", r"\udcff lone surrogate"),
        ("\U000e0041 tag", r"\U000e0041 tag"),
    ],
)
def test_nothing_that_a_terminal_acts_on_is_printed(raw: str, shown: str) -> None:
    assert text.printable(raw) == shown


@given(st.text())
def test_printable_text_has_letters_marks_numbers_punctuation_symbols_and_blanks_only(raw: str) -> None:
    shown = text.printable(raw)
    assert {unicodedata.category(char)[0] for char in shown if char != " "} <= set("LMNPS")
    assert text.printable(shown) == shown


@given(st.text(), st.integers(0, 40))
def test_shortened_text_fits(raw: str, columns: int) -> None:
    assert text.width(text.shorten(text.printable(raw), columns)) <= columns


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.0K"),
        (327_155_712, "312.0M"),
        (2**30 + 2**29, "1.5G"),
        (2**63, "8192.0P"),
    ],
)
def test_size(count: int, shown: str) -> None:
    assert text.size(count) == shown


@pytest.mark.parametrize(
    ("usec", "shown"),
    [
        (0, "0ms"),
        (250_000, "250ms"),
        (59 * SECOND, "59s"),
        (60 * SECOND, "1min"),
        (183 * SECOND, "3min 3s"),
        (7380 * SECOND, "2h 3min"),
        (86400 * SECOND, "1 day"),
        (3 * 86400 * SECOND + 7200 * SECOND, "3 days 2h"),
    ],
)
def test_span(usec: int, shown: str) -> None:
    assert text.span(usec) == shown


def test_a_moment_is_shown_as_systemctl_does(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = text.moment(NOW - 180 * SECOND, NOW)
    assert shown.endswith("; 3min ago")
    assert text.clock(NOW) in text.moment(NOW, NOW)


def test_never_is_shown_as_nothing() -> None:
    assert text.moment(0, NOW) == ""


def test_the_future_is_told_as_such() -> None:
    assert text.ago(NOW + 5 * SECOND, NOW) == "in 5s"
