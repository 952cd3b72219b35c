"""Tables: aligned, as wide as the terminal, and safe to print."""

from hypothesis import given
from hypothesis import strategies as st

from musterd.ctl.table import Cell, Column, layout
from musterd.ctl.text import width

COLUMNS = [Column("ID"), Column("SIZE", right=True), Column("TITLE", flexible=True)]


def test_columns_are_aligned() -> None:
    rows = [["a", "1.0K", "first"], ["longer", "12.5M", "second"]]
    assert layout(COLUMNS, rows, legend=True, room=0) == [
        "ID       SIZE  TITLE",
        "a        1.0K  first",
        "longer  12.5M  second",
    ]


def test_wide_characters_take_two_columns() -> None:
    columns = [Column("A"), Column("B")]
    assert layout(columns, [["世界", "x"], ["abcd", "y"]], legend=False, room=0) == ["世界  x", "abcd  y"]


def test_flexible_columns_are_shortened_to_the_terminal() -> None:
    (line,) = layout(COLUMNS, [["k3v9qd", "1.0K", "a title that is too long"]], legend=False, room=30)
    assert line == "k3v9qd  1.0K  a title that is…"


def test_without_legend_there_is_no_heading() -> None:
    assert layout(COLUMNS, [["a", "b", "c"]], legend=False, room=0) == ["a  b  c"]


def test_cells_are_escaped() -> None:
    (line,) = layout([Column("T")], [[Cell("\x1b[31mred\n")]], legend=False, room=0)
    assert line == r"\e[31mred\n"


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9), st.text()), max_size=5))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, str]]) -> None:
    short = [["id", "1K", title] for _, _, title in rows]
    assert all(width(line) <= 24 for line in layout(COLUMNS, short, legend=True, room=24))
