"""The reaper at work: looks at sessions, asks the core for verdicts, and acts on them as its mode allows."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from musterd.core.case import Case, Explanation, Mode, Verdict, World
from musterd.core.errors import Failed, InvalidArgs, NoSuchSession, NotAuthorized
from musterd.core.evidence import Observation, Usage
from musterd.core.reaper import explain, rank
from musterd.core.session import Session, SessionId
from musterd.core.spec import text
from musterd.core.state import Change, Modes
from musterd.core.units import USEC_PER_SEC
from musterd.manager import Manager
from musterd.ports import Action, Caller, Record

logger = logging.getLogger(__name__)

HOUR = 3600 * USEC_PER_SEC

# An earlier look older than that many graces says nothing of what happened lately.
LOOK_LIFE = 10

# While pressure is up, no look follows another faster than that: looking costs memory bandwidth, too.
SHORTEST_PAUSE = 1.0


class Reaper:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._ports = manager.ports
        self._looks: dict[SessionId, list[Observation]] = {}
        self._verdicts: dict[SessionId, Explanation] = {}
        self._usages: dict[SessionId, Usage] = {}
        self._would_have: dict[SessionId, int] = {}  # last word of a session when dry-run took it
        self.last_evaluation = 0

    @property
    def mode(self) -> Mode:
        return self._manager.modes.reaper

    @property
    def actions(self) -> list[int]:
        now = self._ports.clock.now()
        return [at for at in self._manager.modes.actions if now - at < HOUR]

    async def set_mode(self, caller: Caller, mode: str, why: str) -> None:
        """An operator's order; on disk when it returns."""
        try:
            wanted = Mode(mode)
        except ValueError:
            raise InvalidArgs(f"mode '{mode[:64]}' is not 'off', 'dry-run' or 'on'") from None
        if not await self._ports.authority.allows(caller, Action.SET_MODE):
            raise NotAuthorized("Only an operator may change the mode of the reaper.")
        if wanted is Mode.ON:
            raise Failed(
                "This release of musterd explains what it would reap, but does not reap: use 'dry-run'."
            )
        change = Change(caller.uid, self._ports.clock.now(), text(why))
        before = self._manager.modes
        await self._keep(replace(before, reaper=wanted, reaper_change=change, auto_disabled_reason=""))
        self._ports.log.append(
            Record(change.at, "mode", uid=caller.uid, text=f"reaper {before.reaper} → {wanted}: {why}")
        )
        self._ports.announcer.manager_changed("Mode")

    async def _keep(self, modes: Modes) -> None:
        await self._ports.store.save_modes(modes)
        self._manager.modes = modes

    # Looking and judging

    def verdict(self, session_id: SessionId) -> Explanation | None:
        """The latest one, made whenever; None if none was made yet."""
        return self._verdicts.get(session_id)

    def last_usage(self, session_id: SessionId) -> Usage:
        """What its tree cost when it was last looked at."""
        return self._usages.get(session_id, Usage())

    async def explain(self, session: Session) -> tuple[Explanation, int]:
        """The verdict on one session, from a look made now, and the time of that."""
        judged = await self.evaluate([session])
        if not judged:
            raise NoSuchSession(f"Session '{session.id}' could not be looked at.")
        (case, explanation), *_ = judged
        return explanation, case.now

    async def evaluate(self, sessions: Sequence[Session]) -> list[tuple[Case, Explanation]]:
        """One look at all of them, and a verdict on each that is still there afterwards."""
        looks = await self._look(sessions)
        now = self._ports.clock.now()
        world = self._world(now)
        judged = []
        for session in sessions:
            current = self._manager.registry.find(session.id)
            if current is None or not current.is_current or current.id not in looks:
                continue
            case = self._case(current, looks[current.id], now)
            judged.append((case, explain(case, world)))
        self._remember(judged, now)
        return judged

    async def _look(self, sessions: Iterable[Session]) -> dict[SessionId, Observation]:
        by_uid: dict[int, list[Session]] = {}
        for session in sessions:
            by_uid.setdefault(session.uid, []).append(session)
        looks: dict[SessionId, Observation] = {}
        for uid, theirs in by_uid.items():
            warden = self._ports.wardens.get(uid)
            if warden is None:
                continue
            try:
                looks.update(await warden.observe(theirs, screens=True))
            except Failed as exc:
                self._manager.set_trouble(
                    f"warden-{uid}", f"the warden of user {uid} does not answer: {exc}"
                )
            else:
                self._manager.set_trouble(f"warden-{uid}", "")
        return looks

    def _case(self, session: Session, look: Observation, now: int) -> Case:
        manager = self._manager
        twins = manager.registry.by_agent_session(session.agent, session.agent_session_id)
        return Case(
            session=session,
            look=look,
            earlier=self._earlier(session.id, look),
            inhibitors=list(manager.inhibitors.values()),
            twins=[twin.id for twin in twins if twin.id != session.id],
            unsupported=self._ports.adapters[session.agent].unsupported(session.version),
            config=manager.config.reaper,
            tier=manager.pressure.tier,
            now=now,
            clock_stepped=self._ports.clock.stepped(),
        )

    def _world(self, now: int) -> World:
        actions = tuple(self.actions)
        return World(
            mode=self.mode,
            tier=self._manager.pressure.tier,
            now=now,
            last_action=max(actions, default=0),
            actions=actions,
            clock_stepped=self._ports.clock.stepped(),
        )

    def _earlier(self, session_id: SessionId, look: Observation) -> Observation | None:
        """The latest look by this process that is a grace old. Drops what is of no use any more."""
        grace = int(self._manager.config.reaper.grace * USEC_PER_SEC)
        past = [p for p in self._looks.get(session_id, []) if look.at - p.at < LOOK_LIFE * max(grace, 1)]
        old = [p for p in past if look.at - p.at >= grace]
        recent = [p for p in past if look.at - p.at < grace]
        # At most one old look, and recent ones a quarter of a grace apart: five in all.
        is_spaced = not recent or look.at - recent[-1].at >= grace // 4
        self._looks[session_id] = old[-1:] + recent + ([look] if is_spaced else [])
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
        for gone in [i for i in self._verdicts if not self._is_current(i)]:
            for memory in (self._verdicts, self._usages, self._looks, self._would_have):
                memory.pop(gone, None)

    def _is_current(self, session_id: SessionId) -> bool:
        session = self._manager.registry.find(session_id)
        return session is not None and session.is_current

    async def usage(self, session: Session) -> Usage:
        warden = self._ports.wardens.get(session.uid)
        if warden is None or not session.is_current:
            return Usage()
        usage = (await warden.usage([session])).get(session.id, Usage())
        self._usages[session.id] = usage
        return usage

    # Acting

    async def run(self) -> None:
        """While pressure is up: look, judge, act on the first of the ranked list, wait, look again."""
        while True:
            await self._manager.pressure_raised.wait()
            if self.mode is not Mode.OFF:
                await self.relieve()
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        config = self._manager.config.reaper
        return max(min(config.grace, config.post_action_delay) or config.grace, SHORTEST_PAUSE)

    async def relieve(self) -> None:
        judged = await self.evaluate(self._manager.registry.current())
        reapable = [case for case, explanation in judged if explanation.verdict is Verdict.REAP]
        for case in rank(reapable):
            if self._would_have.get(case.session.id) == case.session.turn.last_word:
                continue  # dry-run took it before; in earnest it would be gone
            await self._pretend(case)
            return

    async def _pretend(self, case: Case) -> None:
        """Dry-run: everything but the end, with the same history and the same budget."""
        session, now = case.session, self._ports.clock.now()
        try:
            await self._keep(replace(self._manager.modes, actions=(*self.actions, now)))
        except Failed as exc:
            self._manager.set_trouble("store", str(exc))
            return
        self._would_have[session.id] = session.turn.last_word
        freed = case.look.usage.private
        self._ports.log.append(
            Record(
                now,
                "would-reap",
                session.id,
                session.uid,
                f"session '{session.id}' would be reaped: {freed} bytes",
                {"freed": freed},
            )
        )
        self._ports.announcer.session_reaped(session, freed, dry_run=True)


def _verdict_record(case: Case, explanation: Explanation) -> Record:
    held = f", kept by {explanation.kept_by}: {explanation.reason}" if explanation.kept_by else ""
    return Record(case.now, "verdict", case.session.id, case.session.uid, f"{explanation.verdict}{held}")
