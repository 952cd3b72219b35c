"""What callers do with claims: who may, and what it leaves in the history."""

from collections.abc import Mapping

from musterd.authority import demand_owner
from musterd.core.claim import Claim, Owner, new_claim_id
from musterd.core.claimspec import changed, parse_changes, parse_claim_spec
from musterd.core.errors import NoSuchSession
from musterd.core.session import Session
from musterd.manager import Manager
from musterd.ports import Caller, Record


class Claiming:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._claims = manager.claims
        self._ports = manager.ports

    async def claim(self, caller: Caller, values: Mapping[str, object]) -> Claim:
        """A session becomes the owner of a task. On disk when it returns."""
        now = self._ports.clock.now()
        spec = parse_claim_spec(values, now)
        session = await self._session(caller, spec.session)
        claim = Claim(
            id=new_claim_id(),
            uid=session.uid,
            task=spec.task,
            budget=spec.budget,
            deadline=spec.deadline,
            owner=Owner.of(session, now),
            created_usec=now,
        )
        for given_up in await self._claims.add(claim, self._manager.config.limits):
            self._record(
                given_up,
                f"claim '{given_up.id}' is abandoned, for room; its session has ended: {given_up.task}",
            )
        self._record(claim, f"claim '{claim.id}' of session '{session.id}': {claim.task}")
        return claim

    async def _session(self, caller: Caller, session_id: str) -> Session:
        manager = self._manager
        session = await (manager.session(caller, session_id) if session_id else manager.by_pid(caller, 0))
        if not session.is_current:
            raise NoSuchSession(f"Session '{session.id}' has ended: it can claim nothing.")
        return session

    async def update(self, caller: Caller, claim_id: str, values: Mapping[str, object]) -> None:
        changes = parse_changes(values)
        before = await self._claim(caller, claim_id)
        after = changed(before, changes, self._ports.clock.now())
        await self._claims.put(after)
        if after.phase is not before.phase:
            self._record(after, f"claim '{after.id}' is {after.phase}: {after.task}")

    async def release(self, caller: Caller, claim_id: str) -> None:
        claim = await self._claim(caller, claim_id)
        await self._claims.remove(claim.id)
        self._record(claim, f"claim '{claim.id}' was released: {claim.task}")

    async def _claim(self, caller: Caller, claim_id: str) -> Claim:
        """A claim that the caller may see and change."""
        uid = self._claims.get(claim_id).uid
        await demand_owner(self._ports.authority, caller, uid, f"Claim '{claim_id}'")
        return self._claims.get(claim_id)

    def visible(self, caller: Caller) -> list[Claim]:
        return [claim for claim in self._claims if caller.owns(claim.uid)]

    def _record(self, claim: Claim, text: str) -> None:
        fields = {"claim": claim.id, "phase": claim.phase.value}
        now = self._ports.clock.now()
        self._ports.log.append(Record(now, "claim", claim.owner.session, claim.uid, text, fields))
