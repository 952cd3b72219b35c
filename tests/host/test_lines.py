"""Text of others stays on its line."""

import pytest

from musterd.host.lines import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text with ünïcödé 漢字", "plain text with ünïcödé 漢字"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("right\u202eleft", "right\\u202eleft"),
        ("no UTF-8: \udce9", "no UTF-8: \\udce9"),
        ("x" * 5000, "x" * 4095 + "…"),
        ("\n" * 5000, ("\\n" * 2048)[:4095] + "…"),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
