"""The reaper at work: acts on the judge's verdicts, as its mode allows.

Relief comes in steps, and pressure is measured again after each: leftovers of dead sessions first, then what
the kernel takes back from an idle session without ending it, then one session of the ranked list. A reap has
two phases with a grace between them, and ends nothing that changed.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

from musterd.authority import demand
from musterd.core.case import Case, Explanation, Mode, Verdict
from musterd.core.errors import Failed, InvalidArgs, MusterError, NotAuthorized
from musterd.core.inhibitor import What, delaying
from musterd.core.reaper import rank
from musterd.core.session import Session, SessionId
from musterd.core.spec import text
from musterd.core.state import Change
from musterd.core.units import USEC_PER_SEC, size
from musterd.ender import Ender, Lease, receipt
from musterd.judge import Judge
from musterd.manager import Manager
from musterd.ports import Action, Caller, Record
from musterd.relief import Relief

logger = logging.getLogger(__name__)

# While pressure is up, no look follows another faster than that: looking costs memory bandwidth, too.
SHORTEST_PAUSE = 1.0

ARMING = ("AutoDisabled", "AutoDisabledReason", "Health", "HealthReasons")  # properties that tell of it


class Reaper:
    def __init__(self, manager: Manager, judge: Judge, ender: Ender) -> None:
        self._manager = manager
        self._judge = judge
        self._ender = ender
        self._ports = manager.ports
        self._relief = Relief(manager, judge, ender)
        self._would_have: dict[SessionId, int] = {}  # last word of a session when dry-run took it

    @property
    def mode(self) -> Mode:
        """As it was set."""
        return self._manager.modes.reaper

    async def set_mode(self, caller: Caller, mode: str, why: str) -> None:
        """An operator's order; on disk when it returns."""
        try:
            wanted = Mode(mode)
        except ValueError:
            raise InvalidArgs(f"mode '{mode[:64]}' is not 'off', 'dry-run' or 'on'") from None
        refusal = NotAuthorized("Only an operator may change the mode of the reaper.")
        await demand(self._ports.authority, caller, Action.SET_MODE, refusal)
        change = Change(caller.uid, self._ports.clock.now(), text(why))
        before = self._manager.modes
        await self._manager.keep_modes(
            lambda modes: replace(
                modes, reaper=wanted, reaper_change=change, auto_disabled_reason="", disarmed_users=()
            )
        )
        self._ports.log.append(
            Record(change.at, "mode", uid=caller.uid, text=f"reaper {before.reaper} → {wanted}: {why}")
        )
        self._ports.announcer.manager_changed("Mode", "ModeUID", "ModeUSec", "ModeWhy", *ARMING)

    # Acting

    async def run(self) -> None:
        """While pressure is up: look, judge, act on the first of the ranked list, wait, look again."""
        while True:
            await self._manager.pressure_raised.wait()
            if self.mode is not Mode.OFF:
                await self._relieve_safely()
            await asyncio.sleep(self._pause())

    async def _relieve_safely(self) -> None:
        """A look that breaks reaps nothing, and must not take the roll with it."""
        try:
            await self.relieve()
        except Exception as exc:
            logger.exception("A round of the reaper failed")
            self._manager.health.set_trouble("reaper", f"a round of the reaper failed: {type(exc).__name__}")
        else:
            self._manager.health.set_trouble("reaper", "")

    def _pause(self) -> float:
        config = self._manager.config.reaper
        return max(min(config.grace, config.post_action_delay) or config.grace, SHORTEST_PAUSE)

    async def relieve(self) -> None:
        """One step of relief."""
        if await self._relief.clear_leftovers():
            return
        judged = await self._judge.evaluate(self._manager.registry.current())
        reapable = [case for case, explanation in judged if explanation.verdict is Verdict.REAP]
        # Whom it may not touch is pretended last: that must not keep it from where it may act.
        ranked = sorted(rank(reapable), key=lambda case: self._manager.modes.is_disarmed(case.session.uid))
        if await self._relief.reclaim(ranked):
            return
        for case in ranked:
            if self._ender.is_leased(case.session.id):
                continue
            in_earnest = self._judge.acting_mode(case.session.uid) is Mode.ON
            if not in_earnest and self._would_have.get(case.session.id) == case.session.turn.last_word:
                continue  # dry-run took it before; in earnest it would be gone
            await self._take(case, in_earnest=in_earnest)
            return

    # One of the ranked list

    async def _take(self, case: Case, *, in_earnest: bool) -> None:
        """Announce, wait, judge again from a new look, end, verify. Dry-run: everything but the end.

        The bus is told of what will happen only: who hears PrepareForReap tells its user.
        """
        session = case.session
        with self._ender.lease(session.id, "the reaper") as lease:
            grace = self._manager.config.reaper.grace
            deadline = self._ports.clock.now() + int(grace * USEC_PER_SEC)
            will = "will" if in_earnest else "would"
            self._log("prepare", f"session '{session.id}' {will} be ended if it stays idle", session)
            if in_earnest:
                self._ports.announcer.prepare_for_reap(session, deadline)
            await asyncio.sleep(grace)
            await self._wait_for_delays(session)
            final = await self._judge_again(session.id)
            if lease.is_revoked:
                return  # an order of its user came first
            if final is None or final[1].verdict is not Verdict.REAP:
                self._cancel(session, final, in_earnest=in_earnest)
            elif in_earnest:
                await self._end(lease, *final)
            else:
                await self._pretend(final[0])

    async def _wait_for_delays(self, session: Session) -> None:
        """Delay inhibitors hold it up, but not for ever."""
        try:
            async with asyncio.timeout(self._manager.config.reaper.inhibit_delay_max):
                while delaying(self._manager.inhibitors, What.REAP, session):
                    await self._manager.inhibitors.one_given_back()
        except TimeoutError:
            logger.info("Session '%s' is delayed no longer", session.id)

    async def _judge_again(self, session_id: SessionId) -> tuple[Case, Explanation] | None:
        """The whole predicate, from a look made now, at the pressure of now; None if it is gone."""
        session = self._manager.registry.find(session_id)
        if session is None or not session.is_current:
            return None
        return next(iter(await self._judge.evaluate([session], closely=True)), None)

    def _cancel(self, session: Session, final: tuple[Case, Explanation] | None, *, in_earnest: bool) -> None:
        gate, reason = (final[1].kept_by, final[1].reason) if final else ("identity", "it ended by itself")
        why = f"{'is' if in_earnest else 'would be'} kept after all by {gate}: {reason}"
        self._refuse(session, gate, why, is_announced=in_earnest)

    def _refuse(self, session: Session, gate: str, why: str, *, is_announced: bool = True) -> None:
        self._judge.refuse(session.id)
        self._log("cancelled", f"session '{session.id}' {why}", session)
        if is_announced:
            self._ports.announcer.reap_cancelled(session, gate)

    async def _end(self, lease: Lease, case: Case, explanation: Explanation) -> None:
        session, now = case.session, self._ports.clock.now()
        try:
            await self._spend(now)
        except Failed as exc:
            await self._disarm("the reaper cannot write down what it does", str(exc))
            return
        try:
            if self._judge.acting_mode(session.uid) is not Mode.ON:
                self._refuse(session, "mode", "is kept: the reaper was switched off")
                return
            ending = await self._ender.end(lease, session, "reaped", case.look)
        except MusterError as exc:
            what = f"how the end of session '{session.id}' of user {session.uid} went is not clear"
            await self._disarm(what, str(exc), session)
            return
        if ending.was_kept:
            self._refuse(session, "transcript", f"is {ending.how}")
            await self._spend_nothing(now)
            return
        self._ports.log.append(receipt(self._ports.clock.now(), session, ending, _evidence(explanation)))
        if not ending.is_ended:
            what = f"session '{session.id}' of user {session.uid} could not be ended"
            await self._disarm(what, ending.obstacle, session)
            return
        self._ports.announcer.session_reaped(session, ending.freed, dry_run=False)

    async def _spend(self, at: int) -> None:
        """Of the budget: on disk when it returns. Raises Failed."""
        actions = (*self._judge.actions, at)
        await self._manager.keep_modes(lambda modes: replace(modes, actions=actions))

    async def _spend_nothing(self, at: int) -> None:
        """Of the budget, which is everybody's, for an end that its warden did not go through with."""
        with suppress(Failed):  # then it is spent
            actions = [known for known in self._judge.actions if known != at]
            await self._manager.keep_modes(lambda modes: replace(modes, actions=tuple(actions)))

    async def _disarm(self, what: str, details: str, session: Session | None = None) -> None:
        """When in doubt it acts as dry-run, over restarts, until an operator sets the mode again.

        For the user of the session alone: what went wrong is what that user's warden says, or does not. The
        details are the user's, too; everybody may see the rest.
        """
        if session:
            self._judge.refuse(session.id)  # whoever arms it again finds others tried first
        self._log("auto-disabled", f"the reaper is disarmed: {what}: {details}", session)
        uid = session.uid if session else None
        try:
            await self._manager.keep_modes(lambda modes: modes.disarmed(what, uid))
        except Failed as exc:
            self._manager.modes = self._manager.modes.disarmed(what, uid)
            self._manager.health.set_trouble("store", str(exc))
        self._ports.announcer.manager_changed(*ARMING)

    def _log(self, kind: str, text: str, session: Session | None) -> None:
        owner = (session.id, session.uid) if session else ("", -1)
        self._ports.log.append(Record(self._ports.clock.now(), kind, *owner, text))

    async def _pretend(self, case: Case) -> None:
        """Here it would be ended: the same history, and the same budget."""
        session, now = case.session, self._ports.clock.now()
        if not self._manager.modes.is_disarmed(session.uid):  # else it is the budget of others
            try:
                await self._spend(now)
            except Failed as exc:
                self._manager.health.set_trouble("store", str(exc))
                return
        self._would_have = {i: at for i, at in self._would_have.items() if i in self._manager.registry}
        self._would_have[session.id] = session.turn.last_word
        freed = case.look.usage.private
        self._ports.log.append(
            Record(
                now,
                "would-reap",
                session.id,
                session.uid,
                f"session '{session.id}' would be reaped: {size(freed)} would come back",
                {"freed": freed},
            )
        )
        self._ports.announcer.session_reaped(session, freed, dry_run=True)


def _evidence(explanation: Explanation) -> str:
    """Every gate's evidence, for the receipt: what it was ended for, not what is true since."""
    return "; ".join(f"{gate.name}: {gate.finding.evidence}" for gate in explanation.gates)
