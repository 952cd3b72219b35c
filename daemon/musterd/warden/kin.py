"""Who belongs to a session: what may be ended with it, and what never is."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from musterd.agents.base import Adapter
from musterd.core.session import SESSION_MARK, PidRef, Session, SessionId
from musterd.host.process import Stat, boot_id
from musterd.host.table import Table
from musterd.host.terminal import parse_terminal
from musterd.host.tty import tty_path
from musterd.warden.follower import Follower
from musterd.warden.look import Tree, trees_of
from musterd.warden.recognise import Recogniser
from musterd.warden.within import SHARED, Pane, inside_scope, is_of_a_person, key_of


@dataclass(frozen=True, slots=True)
class Traces:
    """By what the processes of a session are known when they have left its tree."""

    marks: Collection[str]  # NAME=VALUE in the environment that they inherited
    since: int  # its leader's start, ticks after boot
    terminal: str = ""  # device of its terminal: what has another was started by a person there
    pane: Pane = ("", "")  # that it is in, or was
    scope: str = ""  # directory of its own cgroup
    above: frozenset[tuple[int, int]] = frozenset()  # the leader's ancestors that have a terminal


@dataclass(frozen=True, slots=True)
class Kin:
    """The processes of a session at one moment."""

    rows: Sequence[Stat]  # that may be ended
    foreign: Sequence[Stat]  # of another user: out of reach
    nested: Sequence[Stat]  # leaders of other sessions, and ourselves
    owns_scope: bool  # nobody else is in it


@dataclass(slots=True)
class Relations:
    """One pass over /proc, seen from one session; `leader` is None for one that has ended."""

    table: Table
    recogniser: Recogniser
    leader: PidRef | None = None
    others: Sequence[Follower] = ()
    around: frozenset[tuple[int, int]] = frozenset()  # leaders that it runs within, as an earlier pass found
    _apart: set[int] = field(default_factory=set)  # what belongs to other sessions
    _leaders: set[int] = field(default_factory=set)  # of other sessions
    _unknown: list[tuple[Adapter, Stat]] = field(default_factory=list)  # leaders that nobody registered

    def __post_init__(self) -> None:
        mine = self.table.find(self.leader) if self.leader else None
        # A session around ours is no obstacle: we are part of it, and it is no part of ours.
        lineage = list(self.table.ancestors(mine.pid))[1:] if mine else ()
        self.around |= {key_of(row) for row in lineage}
        trees = trees_of(self.table, self.recogniser, self.others)
        for follower in self.others:
            self._note(trees[follower.session.id])
        known = {key_of(mine)} if mine else set()
        for found in self.recogniser.all(self.table):
            if found.row.pid not in self._leaders and key_of(found.row) not in known | self.around:
                top = found.launcher or found.row
                self._unknown.append((found.adapter, found.row))
                self._note(Tree(found.row, [top, *self.table.descendants(top.pid)], ()))

    def _note(self, tree: Tree) -> None:
        if tree.leader and key_of(tree.leader) not in self.around:
            self._leaders.add(tree.leader.pid)
            self._apart |= {row.pid for row in tree.rows}

    def kin(self, roots: Iterable[int], traces: Traces, members: Collection[int] = ()) -> Kin:
        """Everything below these roots, with these traces, or in its scope."""
        found = {pid: row for pid in roots if (row := self.table.rows.get(pid)) and not row.has_ended}
        below = self._below(found)
        found |= below
        inside = inside_scope(self.table, members, traces.above)
        found |= inside
        found |= self._below(self._marked(traces) | inside, is_strict=True)
        nested = [row for row in found.values() if row.pid in self._leaders or row.pid == os.getpid()]
        mine = [row for row in found.values() if row.pid not in self._apart and row.pid != os.getpid()]
        rows = [row for row in mine if self.recogniser.is_ours(row)]
        alive = {pid for pid in members if (row := self.table.rows.get(pid)) and not row.has_ended}
        return Kin(
            rows=rows,
            foreign=[row for row in mine if not self.recogniser.is_ours(row)],
            nested=nested,
            owns_scope=bool(members) and alive <= {row.pid for row in rows},
        )

    def _below(self, rows: Mapping[int, Stat], *, is_strict: bool = False) -> dict[int, Stat]:
        """These and all below them that run; not what is below a shared program, or of other sessions."""
        found: dict[int, Stat] = {}
        queue = list(rows.values())
        while queue:
            row = queue.pop()
            if row.pid in found or row.comm in SHARED or (is_strict and row.pid in self._apart):
                continue
            found[row.pid] = row
            queue += [self.table.rows[pid] for pid in self.table.children(row.pid)]
        return {pid: row for pid, row in found.items() if not row.has_ended}

    def _marked(self, traces: Traces) -> dict[int, Stat]:
        names = {mark.partition("=")[0] for mark in traces.marks}
        return {
            row.pid: row
            for row in self.table.rows.values()
            if row.start_ticks >= traces.since
            and not row.has_ended
            and self.recogniser.is_ours(row)
            and self._has_mark(row, names, traces.marks)
            and self._has_left(row, traces)
        }

    def _has_mark(self, row: Stat, names: Collection[str], marks: Collection[str]) -> bool:
        facts = self.recogniser.facts.get(row)
        return facts is not None and any(
            f"{name}={facts.environ[name]}" in marks for name in names if name in facts.environ
        )

    def _has_left(self, row: Stat, traces: Traces) -> bool:
        """Not what people start in a terminal: it has the mark where the agent opened that terminal."""
        facts = self.recogniser.facts.get(row)
        if is_of_a_person(row, self.table, facts, traces.pane):
            return False
        if row.tty and tty_path(row.tty) != traces.terminal:
            return False
        return not any(key_of(up) in traces.above for up in self.table.ancestors(row.pid))

    def is_undecided(self, row: Stat, session: Session) -> bool:
        """Whether it may as well be of an agent that nobody registered yet."""
        return any(
            adapter.agent is session.agent and leader.start_ticks <= row.start_ticks
            for adapter, leader in self._unknown
        )


def traces_of(session: Session, adapter: Adapter, terminal: str) -> Traces | None:
    """Of a session that ended; None if nothing can be left: it was on another host, or boot."""
    if session.leader is None or session.leader.boot_id != boot_id():
        return None
    marks = {f"{SESSION_MARK}={session.id}"}
    for name in adapter.marks:
        value = str(session.leader.pid) if name.endswith("PID") else session.agent_session_id
        marks |= {f"{name}={value}"} if value else set()
    pane = parse_terminal(session.terminal) or ("", "")
    return Traces(marks, session.leader.start_ticks, terminal, pane)


def others_than(session_id: SessionId, followers: Mapping[SessionId, Follower]) -> list[Follower]:
    return [follower for known, follower in followers.items() if known != session_id]
