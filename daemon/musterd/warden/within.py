"""Which processes are a session's own: in its scope, and of those that only inherited its environment."""

from collections.abc import Collection, Mapping

from musterd.agents.base import ProcessFacts
from musterd.host.process import Stat
from musterd.host.table import Table

# They hold terminals that people sit in (names as of comm, 15 characters).
MULTIPLEXERS = frozenset(("tmux: server", "screen", "zellij", "dtach", "abduco", "emacs"))

# One serves all programs of its user, whoever happened to need it first.
SHARED = MULTIPLEXERS | frozenset((
    "systemd", "(sd-pam)", "dbus-daemon", "dbus-broker", "dbus-broker-lau", "gpg-agent", "keyboxd",
    "dirmngr", "scdaemon", "ssh-agent", "gnome-keyring-d", "adb", "watchman",
))  # fmt: skip

Pane = tuple[str, str]  # socket and number, as tmux tells its programs; empty outside of it


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


def pane_of(environ: Mapping[str, str]) -> Pane:
    return environ.get("TMUX", "").split(",")[0], environ.get("TMUX_PANE", "")


def is_of_a_person(row: Stat, table: Table, facts: ProcessFacts | None, own: Pane) -> bool:
    """Whether a process that left the tree of a session was started by who sits at another terminal.

    It has the mark of the agent that opened that terminal, and it may have neither terminal nor parent any
    more. `own` is the pane of the agent. 1 adopts strays, whatever it is.
    """
    if row.comm in SHARED or any(up.comm in MULTIPLEXERS for up in table.ancestors(row.pid) if up.pid != 1):
        return True
    pane = pane_of(facts.environ) if facts else ("", "")
    return pane[0] != "" and pane != own


def key_of(row: Stat) -> tuple[int, int]:
    return row.pid, row.start_ticks
