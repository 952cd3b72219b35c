"""Foreign text made safe for one line: what users control must not forge lines, fields or terminal codes."""


def one_line(text: str, limit: int = 4096) -> str:
    """Control, format and other unprintable characters as escapes; cut after `limit` characters."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escape(char) for char in text[:limit])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
