"""Ends one session with all that belongs to it, and makes sure of it."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from musterd.core.errors import Failed, NoSuchSession
from musterd.core.evidence import Observation
from musterd.core.session import PidRef, Session, SessionId
from musterd.host import cgroup
from musterd.host.kill import Grip, all_gone, catches, send
from musterd.host.process import HeldProcess, Stat
from musterd.host.table import Table, usage_of
from musterd.host.tty import tty_path
from musterd.warden.change import difference, unseen
from musterd.warden.composer import InTheWay
from musterd.warden.follower import Follower
from musterd.warden.kin import Kin, Relations, Traces, others_than, traces_of
from musterd.warden.leaders import ref_of
from musterd.warden.notice import Notices, Seat
from musterd.warden.recognise import Recogniser
from musterd.warden.within import above, pane_of
from musterd.warden_port import Ending, Leftover

logger = logging.getLogger(__name__)

# The slowest that was measured to end by itself took 2.1 s (opencode, just started).
QUIT_PATIENCE = 5.0  # seconds for the leader, from what its user would type
# For one that was asked to leave, and may stay. Memory is short then, and it may have to be read back first;
# who leaves when we have given up is told of as ended by itself, and its user is offered no way back.
LEAVE_PATIENCE = 15.0  # seconds
TERM_PATIENCE = 3.0  # seconds from SIGTERM
TOOLS_PATIENCE = 1.0  # seconds for what ends with its leader
KILL_PATIENCE = 2.0  # seconds from SIGKILL
LOOK_PATIENCE = 3.0  # seconds for the last look

SCOPES_LIMIT = 2_000  # sessions whose scope is remembered

_KILLS = 3  # what forks while it is ended takes another round


class Look(Protocol):
    """As warden_port.Warden.observe."""

    async def __call__(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]: ...


class Ends:
    """Ends sessions of one user; `all_processes` is a pass over /proc."""

    def __init__(
        self,
        recogniser: Recogniser,
        followers: Mapping[SessionId, Follower],
        notices: Notices,
        all_processes: Callable[[], Awaitable[Table]],
        observe: Look,
    ) -> None:
        self._recogniser = recogniser
        self._followers = followers
        self._notices = notices
        self._all_processes = all_processes
        self._observe = observe
        self._scopes: dict[SessionId, str] = {}

    def remember(self, session_id: SessionId, leader: int) -> None:
        """The scope of a session, for what is left in it when its leader is gone."""
        self._scopes.pop(session_id, None)
        if scope := cgroup.scope_of(leader):
            self._scopes[session_id] = scope
        if len(self._scopes) > SCOPES_LIMIT:
            del self._scopes[next(iter(self._scopes))]

    async def end(self, session_id: SessionId, last_look: Observation | None) -> Ending:
        """As warden_port.Warden.end, of one that is followed."""
        follower = self._followers.get(session_id)
        if follower is None:
            raise NoSuchSession(f"The leader of '{session_id}' has ended.")
        try:
            with Grip() as grip, Grip() as foreign:
                return await self._end(follower, last_look, grip, foreign)
        except OSError as exc:
            raise Failed(f"Session '{session_id}' cannot be held: {exc.strerror}.") from exc

    async def _end(
        self, follower: Follower, last_look: Observation | None, grip: Grip, foreign: Grip
    ) -> Ending:
        session, family = follower.session, await self._family(follower)
        kin = await family.kin(grip)
        grip.take(kin.rows)
        foreign.take(kin.foreign)
        leader = grip.find(follower.process.pid)
        if leader is None or not leader.ref.is_same(follower.process):
            raise NoSuchSession(f"The leader of '{session.id}' has ended.")
        why = obstacle(kin) or (await self._changed(follower, last_look, kin) if last_look else "")
        if leader.has_ended:  # by itself, during the look
            raise NoSuchSession(f"The leader of '{session.id}' has ended.")
        if why:
            return Ending(False, f"kept: {why}")
        before = usage_of(kin.rows).private
        seat = await self._notices.prepare(follower, family.table)
        how = await self._ask(follower, leader, seat, may_stay=last_look is not None)
        if not how:
            await self._notices.drop(seat)
            is_asked = follower.adapter.leaves_on
            why = "it was asked to leave, and stayed" if is_asked else "somebody types in it, or may"
            return Ending(False, f"kept: {why}")
        how = await _finish(family, grip, how)
        left = (*grip.left, *foreign.left)
        ending = Ending(not left, how, max(before - _private(grip), 0), left)
        if not leader.has_ended:
            await self._notices.drop(seat)
        else:
            await self._notices.tell(seat, session, ending)
        return ending

    async def _family(self, follower: Follower) -> "Family":
        table = await self._all_processes()
        row = table.find(follower.process)
        if row is None:
            raise NoSuchSession(f"The leader of '{follower.session.id}' has ended.")
        top = (table.find(follower.launcher) if follower.launcher else None) or row
        traces = traces_of(follower.session, follower.adapter, tty_path(row.tty))
        assert traces is not None, "its process is of this boot"
        pane = pane_of(follower.facts.environ)
        traces = replace(traces, pane=pane, scope=cgroup.scope_of(row.pid), above=above(table, top.pid))
        others = others_than(follower.session.id, self._followers)
        return Family(
            self._recogniser, self._all_processes, others, traces, table, follower.process, {top.pid}
        )

    async def _changed(self, follower: Follower, last_look: Observation, kin: Kin) -> str:
        """What is not as it was at the last look; "" if all is."""
        if kin.foreign:
            return f"'{kin.foreign[0].comm}' ({kin.foreign[0].pid}) belongs to another user"
        try:
            async with asyncio.timeout(LOOK_PATIENCE):
                looks = await self._observe([follower.session], screens=True)
        except TimeoutError:
            return f"it could not be looked at within {LOOK_PATIENCE:g} s"
        look = looks[follower.session.id]
        return difference(last_look, look) or unseen(kin, follower, look)

    async def _ask(
        self, follower: Follower, leader: HeldProcess, seat: Seat | None, *, may_stay: bool
    ) -> str:
        """Let it end the way it wants to; what made it. "" if it would not, and may stay then."""
        if (name := follower.adapter.leaves_on) and catches(leader, signal.Signals[name]):
            send(leader, signal.Signals[name])
            if await all_gone([leader], LEAVE_PATIENCE if may_stay else QUIT_PATIENCE):
                return name
            logger.debug("Session '%s' is not left by '%s'", follower.session.id, name)
            if may_stay:
                return ""
        if keys := follower.adapter.quit_keys(follower.session):
            try:
                typed = seat is not None and await self._notices.type_keys(seat, follower, keys)
            except InTheWay as exc:
                logger.debug("Session '%s' is not told to leave: %s", follower.session.id, exc)
                if may_stay and not leader.has_ended:
                    return ""
                typed = False
            if typed and await all_gone([leader], QUIT_PATIENCE):
                return keys[0]
            logger.debug("Session '%s' is not left by '%s'", follower.session.id, keys[0])
        if leader.has_ended:
            return "by itself"
        send(leader, signal.SIGTERM)
        await all_gone([leader], TERM_PATIENCE)
        return signal.SIGTERM.name

    async def take_back(self, follower: Follower) -> None:
        """An end of it was interrupted: what was typed for it must not stay as its user's draft."""
        await self._notices.erase_keys(follower, follower.adapter.quit_keys(follower.session))

    # What is left of those that ended

    async def leftovers(self, sessions: Sequence[Session]) -> Sequence[Leftover]:
        """As warden_port.Warden.leftovers."""
        ended = [session for session in sessions if session.leader and session.id not in self._followers]
        if not ended:
            return []
        relations = Relations(
            await self._all_processes(), self._recogniser, others=[*self._followers.values()]
        )
        found: dict[int, Leftover] = {}
        for session in ended:
            for row in await self._left_of(session, relations):
                found.setdefault(row.pid, _leftover(session.id, row))
        return list(found.values())

    async def _left_of(self, session: Session, relations: Relations) -> list[Stat]:
        scope = self._scopes.get(session.id, "")
        terminal = await self._notices.device(session.terminal)
        traces = traces_of(session, self._recogniser.adapter(session.agent), terminal)
        if traces is None:
            return []
        kin = relations.kin((), traces, cgroup.members(scope) if scope else ())
        return [row for row in kin.rows if not relations.is_undecided(row, session)]

    async def end_leftovers(self, leftovers: Sequence[Leftover]) -> Ending:
        """As warden_port.Warden.end_leftovers."""
        try:
            with Grip() as grip:
                return await self._end_leftovers(leftovers, grip)
        except OSError as exc:
            raise Failed(f"Leftovers cannot be held: {exc.strerror}.") from exc

    async def _end_leftovers(self, leftovers: Sequence[Leftover], grip: Grip) -> Ending:
        table = await self._all_processes()
        roots = {row.pid for left in leftovers if (row := table.find(left.process))}
        others = list(self._followers.values())
        family = Family(self._recogniser, self._all_processes, others, Traces((), 0), table, None, roots)
        kin = await family.kin(grip)
        if why := obstacle(kin):
            return Ending(False, f"kept: {why}")
        grip.take(kin.rows)
        before = usage_of(kin.rows).private
        how = await _finish(family, grip, "by itself")
        return Ending(not grip.left, how, max(before - _private(grip), 0), grip.left)


@dataclass(slots=True)
class Family:
    """Who belongs to what is being ended, pass by pass; `roots` until the first of them are held."""

    recogniser: Recogniser
    all_processes: Callable[[], Awaitable[Table]]
    others: Sequence[Follower]
    traces: Traces
    table: Table
    leader: PidRef | None
    roots: set[int]
    around: frozenset[tuple[int, int]] = frozenset()
    is_looked_at: bool = False

    async def kin(self, grip: Grip) -> Kin:
        """As of now."""
        if self.is_looked_at:
            self.table = await self.all_processes()
            self.roots = {held.ref.pid for held in grip.alive}
        self.is_looked_at = True
        relations = Relations(self.table, self.recogniser, self.leader, self.others, self.around)
        self.around = relations.around
        members = cgroup.members(self.traces.scope) if self.traces.scope else ()
        return relations.kin(self.roots, self.traces, members)


async def _finish(family: Family, grip: Grip, how: str) -> str:
    """SIGTERM, then SIGKILL, to all that is still there; how it had to be done."""
    if await all_gone(grip, TOOLS_PATIENCE) and not await _take_new(family, grip):
        return how
    if grip.send(signal.SIGTERM):
        how = signal.SIGTERM.name
        await all_gone(grip, TERM_PATIENCE)
    for _ in range(_KILLS):
        kin = await family.kin(grip)
        grip.take(kin.rows)
        if not grip.alive:
            break
        how = signal.SIGKILL.name
        if not (kin.owns_scope and cgroup.kill(family.traces.scope)):
            grip.send(signal.SIGKILL)
        await all_gone(grip, KILL_PATIENCE)
    return how


async def _take_new(family: Family, grip: Grip) -> bool:
    """Whether another pass finds anything that belongs to it."""
    grip.take((await family.kin(grip)).rows)
    return bool(grip.alive)


def obstacle(kin: Kin) -> str:
    """Why nothing of it may be ended."""
    if not kin.nested:
        return ""
    return f"another session, '{kin.nested[0].comm}' ({kin.nested[0].pid}), runs within it"


def _private(grip: Grip) -> int:
    return usage_of([held.stat for held in grip.alive]).private


def _leftover(session_id: SessionId, row: Stat) -> Leftover:
    return Leftover(session_id, ref_of(row), row.comm, usage_of([row]).private)
