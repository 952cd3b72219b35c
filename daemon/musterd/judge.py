"""Judging: a look at sessions through their wardens, and the core's verdict on each."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from musterd.core.case import Case, Explanation, Mode, Verdict, World
from musterd.core.errors import Failed, NoSuchSession
from musterd.core.evidence import Observation, Unknown, Usage
from musterd.core.reaper import explain
from musterd.core.session import Session, SessionId
from musterd.core.suspend import Suspend, awake, elapsed
from musterd.core.units import USEC_PER_HOUR, USEC_PER_SEC
from musterd.manager import Manager
from musterd.ports import Record
from musterd.together import all_of
from musterd.worktrees import Worktrees

logger = logging.getLogger(__name__)

# An earlier look older than that many graces says nothing of what happened lately.
LOOK_LIFE = 10


class _Times(NamedTuple):
    """What a ports.Clock says, asked once for all sessions of an evaluation."""

    now: int
    stepped: int
    twice: tuple[int, int]
    suspends: Sequence[Suspend]


class Judge:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._ports = manager.ports
        self._looks: dict[SessionId, list[Observation]] = {}
        self._stepped = 0  # when the clock was set, as far as the looks know
        self._verdicts: dict[SessionId, Explanation] = {}
        self._usages: dict[SessionId, Usage] = {}
        self._refused: dict[SessionId, int] = {}
        self._mistakes: set[tuple[str, type[Exception]]] = set()  # of gates
        self._worktrees = Worktrees(manager)
        self.last_evaluation = 0

    def acting_mode(self, uid: int) -> Mode:
        """As it acts on a user's sessions: after a reap of one that went wrong, `on` is dry-run for them.

        That lasts until an operator sets the mode again.
        """
        modes = self._manager.modes
        return Mode.DRY_RUN if modes.reaper is Mode.ON and modes.is_disarmed(uid) else modes.reaper

    @property
    def actions(self) -> list[int]:
        """When it acted, or would have, the past hour in which the machine was awake."""
        return [at for at, _ in self._acted(self._times())]

    def _acted(self, times: _Times) -> list[tuple[int, int]]:
        """And how long ago that was."""
        now, stepped, _, suspends = times
        acted = [(at, elapsed(at, now, stepped, suspends)) for at in self._manager.modes.actions]
        return [(at, ago) for at, ago in acted if ago < USEC_PER_HOUR]

    def refuse(self, session_id: SessionId) -> None:
        """A reap of it did not come off: it was cancelled, or failed, just now."""
        self._refused[session_id] = self._ports.clock.now()

    def verdict(self, session_id: SessionId) -> Explanation | None:
        """The latest one, made whenever; None if none was made yet, or it has ended."""
        return self._verdicts.get(session_id) if self._is_current(session_id) else None

    def last_usage(self, session_id: SessionId) -> Usage:
        """What its tree cost when it was last looked at; nothing once it has ended."""
        return self._usages.get(session_id, Usage()) if self._is_current(session_id) else Usage()

    async def explain(self, session: Session) -> tuple[Explanation, int]:
        """The verdict on one session, from a look made now, and the time of that.

        Waits for its warden to come. Raises NoSuchSession if it has ended, and Failed, which says why there
        is no warden.
        """
        if not session.is_current:
            raise NoSuchSession(f"Session '{session.id}' has ended: there is nothing to judge.")
        if session.leader is not None:
            await self._manager.warden_of(session.uid)
        judged = await self.evaluate([session], closely=True)
        if not judged:
            raise NoSuchSession(f"Session '{session.id}' could not be looked at.")
        (case, explanation), *_ = judged
        return explanation, case.now

    async def evaluate(
        self, sessions: Sequence[Session], *, closely: bool = False
    ) -> list[tuple[Case, Explanation]]:
        """One look at all of them, and a verdict on each that is still there afterwards.

        Their directories are looked at last, where nothing else keeps them and it makes a difference; or,
        `closely`, is to be noted.
        """
        looks = await self._look(sessions)
        known = [s.id for s in sessions if s.id in looks and self._is_current(s.id)]
        times = self._times()
        earlier = {session_id: self._earlier(session_id, looks[session_id], times) for session_id in known}
        judged = self._judge(looks, earlier)
        if asked := [
            case.session for case, verdict in judged if _wants_worktree(case, verdict, closely=closely)
        ]:
            for session_id, state in (await self._worktrees.of(asked, anew=closely)).items():
                looks[session_id] = replace(looks[session_id], worktree=state)
            judged = self._judge(looks, earlier)
        self._remember(judged, self._ports.clock.now())
        return judged

    def _judge(
        self,
        looks: Mapping[SessionId, Observation],
        earlier: Mapping[SessionId, Observation | None],
    ) -> list[tuple[Case, Explanation]]:
        """As things are now."""
        times = self._times()
        world = self._world(times)
        judged = []
        for session_id, before in earlier.items():
            session = self._manager.registry.find(session_id)
            if session is not None and session.is_current:
                case = self._case(session, looks[session_id], before, times)
                judged.append((case, explain(case, world, self._gate_broke)))
        return judged

    def _gate_broke(self, gate: str, exc: Exception) -> None:
        """Told once: a mistake of ours would be there at every look, for every session."""
        mistake = (gate, type(exc))
        if mistake not in self._mistakes:
            self._mistakes.add(mistake)
            logger.error("Gate '%s' failed, and keeps for it", gate, exc_info=exc)

    async def _look(self, sessions: Iterable[Session]) -> dict[SessionId, Observation]:
        by_uid: dict[int, list[Session]] = {}
        for session in sessions:
            by_uid.setdefault(session.uid, []).append(session)
        looks: dict[SessionId, Observation] = {}
        for found in await all_of(self._look_at(uid, of) for uid, of in by_uid.items()):
            looks.update(found)
        return looks

    async def _look_at(self, uid: int, sessions: Sequence[Session]) -> Mapping[SessionId, Observation]:
        """Through one warden; the sessions of other users do not wait for it."""
        warden = self._ports.wardens.find(uid)
        if warden is None:
            return {}  # it is being started, or somebody says why it is not: no judgement waits for it
        try:
            looks = await warden.observe(sessions, screens=True)
        except Failed as exc:
            logger.info("The sessions of user %d cannot be looked at: %s", uid, exc)
            self._manager.health.set_trouble(f"warden-{uid}", f"the warden of user {uid} does not answer")
            return {}
        self._manager.health.set_trouble(f"warden-{uid}", "")
        return looks

    def _times(self) -> _Times:
        clock = self._ports.clock
        return _Times(clock.now(), clock.stepped(), clock.twice(), clock.suspends())

    def _case(self, session: Session, look: Observation, earlier: Observation | None, times: _Times) -> Case:
        manager = self._manager
        twins = manager.registry.by_agent_session(session.agent, session.agent_session_id, session.uid)
        return Case(
            session=session,
            look=look,
            earlier=earlier,
            inhibitors=list(manager.inhibitors),
            claims=[claim.id for claim in manager.claims.of(session.id) if claim.is_open(times.now)],
            refused=self._refused.get(session.id, 0),
            twins=[twin.id for twin in twins if twin.id != session.id],
            is_ours=_is_in_tree(look, self._ports.pid),
            unsupported=self._ports.adapters[session.agent].unsupported(session.version),
            config=manager.config.reaper,
            tier=manager.pressure.tier,
            now=times.now,
            clock_stepped=times.stepped,
            clock_twice=times.twice,
            suspends=times.suspends,
        )

    def _world(self, times: _Times) -> World:
        return World(
            mode=self._manager.modes.reaper,
            tier=self._manager.pressure.tier,
            acted=tuple(ago for _, ago in self._acted(times)),
        )

    def _earlier(self, session_id: SessionId, look: Observation, times: _Times) -> Observation | None:
        """The latest look by this process that is a grace old. Drops what is of no use any more."""
        grace = int(self._manager.config.reaper.grace * USEC_PER_SEC)
        if times.stepped != self._stepped:
            self._stepped = times.stepped
            self._looks.clear()  # nobody can say how long ago they were
        if not self._stepped <= look.at <= times.now:
            return None  # made before that, too
        past = [(awake(p.at, look.at, times.suspends), p) for p in self._looks.get(session_id, [])]
        old = [p for ago, p in past if grace <= ago < LOOK_LIFE * max(grace, 1)]
        recent = [(ago, p) for ago, p in past if ago < grace]
        # At most one old look, and recent ones a quarter of a grace apart: five in all.
        is_spaced = not recent or recent[-1][0] >= grace // 4
        self._looks[session_id] = old[-1:] + [p for _, p in recent] + ([look] if is_spaced else [])
        return old[-1] if old else None

    def _remember(self, judged: Sequence[tuple[Case, Explanation]], now: int) -> None:
        self.last_evaluation = now
        for case, explanation in judged:
            before = self._verdicts.get(case.session.id)
            self._verdicts[case.session.id] = explanation
            self._usages[case.session.id] = case.look.usage
            if before and (before.verdict, before.kept_by) == (explanation.verdict, explanation.kept_by):
                continue
            self._ports.log.append(_verdict_record(case, explanation))
        for memory in (self._verdicts, self._usages, self._looks, self._refused):
            for gone in [session_id for session_id in memory if not self._is_current(session_id)]:
                del memory[gone]

    def _is_current(self, session_id: SessionId) -> bool:
        session = self._manager.registry.find(session_id)
        return session is not None and session.is_current

    async def measure(self, session: Session) -> None:
        """Its usage anew, for `last_usage`. A warden that cannot tell leaves the last one."""
        warden = self._ports.wardens.find(session.uid)
        if warden is None or not session.is_current:
            return
        try:
            usages = await warden.usage([session])
        except Failed:
            return
        if session.id in usages and self._is_current(session.id):
            self._usages[session.id] = usages[session.id]


def _wants_worktree(case: Case, explanation: Explanation, *, closely: bool) -> bool:
    if case.config.worktree_policy == "keep":
        return explanation.kept_by == "worktree"
    return closely and explanation.verdict is not Verdict.KEEP


def _is_in_tree(look: Observation, pid: int) -> bool:
    """Whether that process was started by the agent, or by what it started, and be it long ago."""
    return not isinstance(look.children, Unknown) and pid in {child.process.pid for child in look.children}


def _verdict_record(case: Case, explanation: Explanation) -> Record:
    held = f", kept by {explanation.kept_by}: {explanation.reason}" if explanation.kept_by else ""
    return Record(case.now, "verdict", case.session.id, case.session.uid, f"{explanation.verdict}{held}")
