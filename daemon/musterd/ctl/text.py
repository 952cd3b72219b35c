"""How values look to people: nothing that agents or users wrote reaches the terminal unescaped."""

import unicodedata
from datetime import datetime

from musterd.core.units import USEC_PER_SEC

# Controls, formats (with bidi overrides), surrogates, private use, unassigned, line and paragraph ends.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}


def printable(text: str) -> str:
    """Everything escaped that a terminal might act on, or that hides or reorders what is seen."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _is_unsafe(char) else char for char in text)


def _is_unsafe(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE or (char.isspace() and char != " ")


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Columns of a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, columns: int) -> str:
    """Cut at the end, with an ellipsis, to fit."""
    if width(text) <= columns:
        return text
    kept = ""
    for char in text:
        if width(kept) + _columns(char) > columns - 1:
            break
        kept += char
    return kept + "…" if columns > 0 else ""


_SIZES = "KMGTP"


def size(count: int) -> str:
    """Bytes, as systemd writes them: 1.2G."""
    if count < 1024:
        return f"{count}B"
    power = min((count.bit_length() - 1) // 10, len(_SIZES))
    return f"{count / 1024**power:.1f}{_SIZES[power - 1]}"


_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def ago(usec: int, now: int) -> str:
    """Relative, in the two largest units: 2h 3min ago."""
    return f"{span(now - usec)} ago" if usec <= now else f"in {span(usec - now)}"


def span(usec: int) -> str:
    seconds = usec // USEC_PER_SEC
    if seconds < 1:
        return f"{usec // 1000}ms"
    for (name, length), (smaller, shorter) in zip(_UNITS, (*_UNITS[1:], ("", 0)), strict=True):
        if seconds >= length:
            count, rest = divmod(seconds, length)
            more = rest // shorter if shorter else 0
            first = f"{count} {name}{'s' if count > 1 else ''}" if name == "day" else f"{count}{name}"
            return f"{first} {more}{smaller}" if more else first
    return "0s"


def moment(usec: int, now: int) -> str:
    """A point in time as systemctl shows it; empty for never."""
    if not usec:
        return ""
    return f"{clock(usec)}; {ago(usec, now)}"


def clock(usec: int) -> str:
    local = datetime.fromtimestamp(usec / USEC_PER_SEC).astimezone()
    return f"{local:%a %Y-%m-%d %H:%M:%S %Z}"


def date(usec: int) -> str:
    """As journalctl shows it, for what is no older than a history."""
    return f"{datetime.fromtimestamp(usec / USEC_PER_SEC).astimezone():%b %d %H:%M:%S}"


def user_name(uid: int) -> str:
    import pwd  # asks NSS: only when a name is shown

    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)
