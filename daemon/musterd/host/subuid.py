"""Users that have no account: those that another user may be in a user namespace (subuid(5))."""

from pathlib import Path

SUBUID = "/etc/subuid"


def is_subordinate(uid: int, path: str = SUBUID) -> bool:
    """Whether the machine has lent this uid to one of its users, who has 65,536 of them."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(uid in _range(line) for line in lines)


def _range(line: str) -> range:
    """`name:first:count`; a line that is none lends nothing."""
    try:
        _, first, count = line.split(":")
        return range(int(first), int(first) + int(count))
    except ValueError:
        return range(0)
