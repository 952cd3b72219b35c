"""Who is in the scope of a session, and which of these are its own."""

from collections.abc import Collection

from musterd.host.process import Stat
from musterd.host.table import Table

# One serves all programs of its user, whoever happened to need it first (names as of comm, 15 characters).
# Multiplexers hold terminals that people sit in.
SHARED = frozenset((
    "tmux: server", "screen", "zellij", "dtach", "abduco", "systemd", "(sd-pam)", "dbus-daemon",
    "dbus-broker", "dbus-broker-lau", "gpg-agent", "keyboxd", "dirmngr", "scdaemon", "ssh-agent",
    "gnome-keyring-d", "adb", "watchman", "emacs",
))  # fmt: skip


def inside_scope(
    table: Table, members: Collection[int], hands: Collection[tuple[int, int]]
) -> dict[int, Stat]:
    """The members of its scope, unless the shell it was started from is one: then it is a user's.

    `hands`: as `above` says.
    """
    rows = {pid: row for pid in members if (row := table.rows.get(pid)) and not row.has_ended}
    if any(key_of(row) in hands for row in rows.values()):
        return {}
    return {pid: row for pid, row in rows.items() if row.comm not in SHARED}


def above(table: Table, top: int) -> frozenset[tuple[int, int]]:
    """What a leader was started from by hand: its ancestors that have a terminal. (1 adopts strays.)"""
    return frozenset(key_of(row) for row in table.ancestors(top) if row.pid not in (1, top) and row.tty)


def key_of(row: Stat) -> tuple[int, int]:
    return row.pid, row.start_ticks
