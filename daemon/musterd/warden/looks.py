"""Looks at many sessions at once, and what one of them works on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from musterd.core.evidence import Child, Observation, Presence, Unknown, Usage, Work
from musterd.core.session import Session, SessionId
from musterd.host import cgroup
from musterd.host.locks import lock_holders
from musterd.host.table import Table
from musterd.host.terminal import Terminals
from musterd.ports import Clock
from musterd.warden.follower import Follower
from musterd.warden.guard import Mistakes
from musterd.warden.look import Tree, children_of, missing, observation, trees_of, with_members, with_screen
from musterd.warden.pause import Pause
from musterd.warden.recognise import Recogniser
from musterd.warden.watch import Watch
from musterd.warden.work import without_hooks, work

logger = logging.getLogger(__name__)


class Looks:
    """`all_processes` is a pass over /proc."""

    def __init__(
        self,
        watch: Watch,
        recogniser: Recogniser,
        terminals: Terminals,
        mistakes: Mistakes,
        clock: Clock,
        all_processes: Callable[[], Awaitable[Table]],
    ) -> None:
        self._watch = watch
        self._recogniser = recogniser
        self._terminals = terminals
        self._mistakes = mistakes
        self._clock = clock
        self._all_processes = all_processes

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        """As warden_port.Warden.observe."""
        at = self._clock.now()
        followers = self._watch.following(sessions)
        trees = await self.trees(followers)
        holders = _lock_holders(followers)
        attended = await self._terminals.attended({f.session.terminal for f in followers})
        looks: dict[SessionId, Observation] = {s.id: missing(at, "it is not watched") for s in sessions}
        pause = Pause()
        with self._watch.portions(followers) as portions:
            for some in portions:
                await self._watch.read(some)
                for follower in filter(self._watch.is_followed, some):
                    session_id = follower.session.id
                    is_locking = bool(follower.held_session_id) or follower.process.pid in holders
                    tree = trees[session_id]
                    looks[session_id] = self._look(follower, tree, at, attended, is_locking=is_locking)
                    await pause()
        if screens:
            looks |= await self._with_screens(followers, looks)
        return {session_id: _until_now(look) for session_id, look in looks.items()}

    def _look(
        self, follower: Follower, tree: Tree, at: int, attended: Mapping[str, bool], *, is_locking: bool
    ) -> Observation:
        try:
            if is_locking:
                self._watch.hold(follower)
            if tree.leader is None:
                return missing(at, f"process {follower.process.pid} has ended")
            presence = self._terminals.presence(follower.session.terminal, tree.leader.tty, attended)
            return observation(follower, tree, self._recogniser, presence, at)
        except Exception as exc:  # noqa: BLE001 - of one session; unknown keeps it
            why = self._mistakes.why(follower.adapter, exc)
            return missing(at, f"it cannot be looked at: {why}")

    async def _with_screens(
        self, followers: Sequence[Follower], looks: Mapping[SessionId, Observation]
    ) -> Mapping[SessionId, Observation]:
        views = await self._terminals.views({f.session.terminal for f in followers})
        seen = dict[SessionId, Observation]()
        for follower in followers:
            session = follower.session
            try:
                seen[session.id] = with_screen(follower, looks[session.id], views.get(session.terminal))
            except Exception as exc:  # noqa: BLE001 - of one session; unknown keeps it
                why = self._mistakes.why(follower.adapter, exc)
                screen = Unknown(f"its screen cannot be read: {why}")
                seen[session.id] = replace(looks[session.id], screen=screen)
        return seen

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        """As warden_port.Warden.usage."""
        trees = await self.trees(self._watch.following(sessions))
        return {session_id: tree.usage for session_id, tree in trees.items()}

    async def work(self, session: Session, check_command: Sequence[str], seconds: float) -> Work:
        """As warden_port.Warden.work."""
        return await work(session, check_command, seconds, lambda: self._at_work(session.id))

    async def _at_work(self, session_id: SessionId) -> Sequence[Child] | Unknown:
        follower = self._watch.followers.get(session_id)
        if follower is None:
            return Unknown("it is not watched")
        tree = (await self.trees([follower]))[session_id]
        rows = without_hooks(tree.children, self._recogniser.facts)
        return children_of(follower, replace(tree, children=rows), self._recogniser)

    async def trees(self, followers: Sequence[Follower]) -> Mapping[SessionId, Tree]:
        """With what is in the scopes that were made for them."""
        table = await self._all_processes()
        trees = trees_of(table, self._recogniser, followers)
        leaders = {f.session.id: f.process.pid for f in followers if f.session.scope}
        members = await asyncio.to_thread(_members, leaders) if leaders else {}
        return {**trees, **{i: with_members(trees[i], table, pids) for i, pids in members.items()}}


def _members(leaders: Mapping[SessionId, int]) -> Mapping[SessionId, set[int]]:
    """Who is in the scope of each."""
    scopes = {session_id: cgroup.scope_of(pid) for session_id, pid in leaders.items()}
    return {session_id: cgroup.members(scope) for session_id, scope in scopes.items() if scope}


def _lock_holders(followers: Sequence[Follower]) -> set[int]:
    """Who may have a file locked: anybody, if the kernel does not tell."""
    try:
        return lock_holders()
    except OSError as exc:
        logger.debug("Cannot read who holds locks: %s, asking all", exc.strerror)
        return {follower.process.pid for follower in followers}


def _until_now(look: Observation) -> Observation:
    """Nobody typed after the look: what tells the latest that it can have been may be ahead of it."""
    if not isinstance(look.presence, Presence) or look.presence.last_input <= look.at:
        return look
    return replace(look, presence=replace(look.presence, last_input=look.at))
