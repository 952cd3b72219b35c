"""One look at many sessions: who is in whose tree, what it costs, and what an observation says."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from musterd.core.evidence import Child, Identity, Observation, Presence, Screen, Unknown, Usage
from musterd.core.session import SESSION_MARK, PidRef, SessionId
from musterd.host.process import Stat, boot_id, usec_of_ticks
from musterd.host.table import Table, usage_of
from musterd.host.terminal import View
from musterd.warden.follower import Follower
from musterd.warden.recognise import Recogniser
from musterd.warden.within import above, inside_scope, is_of_a_person, pane_of


@dataclass(frozen=True, slots=True)
class Tree:
    """The processes of one session: leader, launcher, and what is below, beside or left by them."""

    leader: Stat | None
    rows: Sequence[Stat]  # with leader and launcher
    children: Sequence[Stat]  # without

    @property
    def usage(self) -> Usage:
        return usage_of(self.rows)


def trees_of(
    table: Table, recogniser: Recogniser, followers: Sequence[Follower]
) -> Mapping[SessionId, Tree]:
    """The tree of each, with what left it but still carries its mark."""
    trees = {follower.session.id: _tree(table, follower) for follower in followers}
    strays = _strays(table, recogniser, trees)
    return {f.session.id: _with_strays(trees[f.session.id], f, strays, recogniser, table) for f in followers}


def _tree(table: Table, follower: Follower) -> Tree:
    leader = table.find(follower.process)
    if leader is None:
        return Tree(None, (), ())
    top = (table.find(follower.launcher) if follower.launcher else None) or leader
    below = table.descendants(top.pid)
    children = [row for row in below if row.pid != leader.pid]
    return Tree(leader, [top, *below], children)


def _strays(
    table: Table, recogniser: Recogniser, trees: Mapping[SessionId, Tree]
) -> Mapping[str, Sequence[Stat]]:
    """Processes in no tree, by what the environment they inherited says: who forks twice leaves its tree."""
    inside = {row.pid for tree in trees.values() for row in tree.rows}
    names = recogniser.marks
    strays: dict[str, list[Stat]] = {}
    for row in table.rows.values():
        if row.pid in inside or row.has_ended or not recogniser.is_ours(row):
            continue
        facts = recogniser.facts.get(row)
        for name in names & facts.environ.keys() if facts else ():
            strays.setdefault(f"{name}={facts.environ[name] if facts else ''}", []).append(row)
    return strays


def _with_strays(
    tree: Tree,
    follower: Follower,
    strays: Mapping[str, Sequence[Stat]],
    recogniser: Recogniser,
    table: Table,
) -> Tree:
    if tree.leader is None:
        return tree
    session, leader, own = follower.session, tree.leader, pane_of(follower.facts.environ)

    def is_work(row: Stat) -> bool:
        started_by_hand = is_of_a_person(row, table, recogniser.facts.get(row), own)
        return not started_by_hand and row.tty in (0, leader.tty) and row.start_ticks >= leader.start_ticks

    found: dict[int, Stat] = {}
    for name in recogniser.marks:
        value = session.id if name == SESSION_MARK else session.agent_session_id
        wanted = {f"{name}={value}"} if value else set()
        if name.endswith("PID"):
            wanted.add(f"{name}={leader.pid}")
        found |= {row.pid: row for mark in wanted for row in strays.get(mark, ()) if is_work(row)}
    extra = list(found.values())
    return Tree(leader, [*tree.rows, *extra], [*tree.children, *extra]) if extra else tree


def with_members(tree: Tree, table: Table, members: Collection[int]) -> Tree:
    """The tree with all that is in its scope: an end takes that, too, whatever its environment says."""
    if tree.leader is None:
        return tree
    known = {row.pid for row in tree.rows}
    inside = inside_scope(table, members, above(table, tree.rows[0].pid))
    extra = [row for pid, row in inside.items() if pid not in known]
    return Tree(tree.leader, [*tree.rows, *extra], [*tree.children, *extra]) if extra else tree


def observation(
    follower: Follower, tree: Tree, recogniser: Recogniser, presence: Presence | Unknown, at: int
) -> Observation:
    """What one look found; the screen is added by whoever can read it."""
    return Observation(
        at=at,
        identity=_identity(follower, tree, recogniser),
        native=follower.native,
        transcript=follower.transcript,
        screen=None,
        children=children_of(follower, tree, recogniser),
        presence=presence,
        usage=tree.usage,
        queued=follower.queued,
    )


def missing(at: int, why: str) -> Observation:
    """Of a session that is not watched, or whose process is gone."""
    unknown = Unknown(why)
    return Observation(at, unknown, unknown, unknown, unknown, unknown, unknown)


def _identity(follower: Follower, tree: Tree, recogniser: Recogniser) -> Identity | Unknown:
    facts = recogniser.facts.get(tree.leader) if tree.leader else None
    if tree.leader is None or follower.exit_watch.has_ended:
        return Unknown(f"process {follower.process.pid} has ended")
    if facts is None or not facts.executable:
        return Unknown(f"the program of process {follower.process.pid} cannot be read")
    native = follower.native
    said = native.agent_session_id if native and not isinstance(native, Unknown) else ""
    return Identity(follower.process, facts.uid, facts.executable, said or follower.held_session_id)


def children_of(follower: Follower, tree: Tree, recogniser: Recogniser) -> tuple[Child, ...] | Unknown:
    if tree.leader is None:
        return Unknown("its process has ended")
    return tuple(_child(row, follower, recogniser) for row in tree.children)


def _child(row: Stat, follower: Follower, recogniser: Recogniser) -> Child:
    facts = recogniser.facts.get(row)
    return Child(
        process=PidRef(row.pid, row.start_ticks, boot_id()),
        name=row.comm,
        start_usec=usec_of_ticks(row.start_ticks),
        cpu_usec=row.cpu_usec,
        is_helper=facts is not None and follower.adapter.is_helper(facts),
    )


def digest(screen: str, title: str) -> str:
    """Of what a person would see. No cursor, no colours, no blanks at the ends: those move by themselves."""
    text = "\n".join(line.rstrip() for line in screen.rstrip().splitlines())
    return hashlib.blake2b(f"{title}\n{text}".encode(errors="replace"), digest_size=16).hexdigest()


def with_screen(follower: Follower, look: Observation, view: View | None) -> Observation:
    if isinstance(look.identity, Unknown):
        return look
    if view is None:
        terminal = follower.session.terminal
        return replace(look, screen=Unknown(f"'{terminal}' is not a tmux pane") if terminal else None)
    if isinstance(view.text, Unknown):
        return replace(look, screen=view.text, presence=view.presence)
    reading = follower.adapter.screen(view.text)
    screen: Screen | Unknown = Unknown("neither a composer nor a dialog is seen")
    if reading.is_readable:
        screen = Screen(digest(view.text, view.title), reading.has_dialog, reading.has_draft)
    return replace(look, screen=screen, presence=view.presence)
