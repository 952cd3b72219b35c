"""The book of claims: each is on disk before anybody is told, and rows of holds are counted beside it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from musterd.core.claim import Claim, ClaimId, Phase, Row
from musterd.core.config import LimitsConfig
from musterd.core.errors import Failed, LimitReached, NoSuchClaim
from musterd.core.registry import Registry
from musterd.core.session import SessionId
from musterd.ports import Store

# Finished ones that are remembered; older ones are forgotten.
FINISHED_PER_SESSION = 16
FINISHED_PER_USER = 256


class _Bound(NamedTuple):
    whose: str
    active: Sequence[Claim]
    limit: int
    is_shared: bool = False  # by several sessions


class Claims:
    """`on_change` is told whose claims are not the same any more."""

    def __init__(self, registry: Registry, store: Store, on_change: Callable[[SessionId], None]) -> None:
        self._registry = registry
        self._store = store
        self._on_change = on_change
        self._claims: dict[ClaimId, Claim] = {}  # oldest first
        self._by_session: dict[SessionId, list[ClaimId]] = {}
        self._rows: dict[tuple[SessionId, bool], Row] = {}  # (session, enforced)
        self._adding = asyncio.Lock()

    def __iter__(self) -> Iterator[Claim]:
        return iter(list(self._claims.values()))

    def load(self, claims: Iterable[Claim]) -> None:
        for claim in sorted(claims, key=lambda claim: claim.created_usec):
            self._enter(claim)
            for enforced in (False, True):
                rows = self.row(claim.owner.session, enforced=enforced), claim.tally(enforced=enforced).row
                self._rows[claim.owner.session, enforced] = max(rows, key=lambda row: row.holds)

    def _enter(self, claim: Claim) -> None:
        self._claims[claim.id] = claim
        self._by_session.setdefault(claim.owner.session, []).append(claim.id)

    def get(self, claim_id: str) -> Claim:
        try:
            return self._claims[ClaimId(claim_id)]
        except KeyError:
            raise NoSuchClaim(f"There is no claim '{claim_id[:64]}'.") from None

    def of(self, session_id: SessionId) -> list[Claim]:
        return [self._claims[claim_id] for claim_id in self._by_session.get(session_id, ())]

    def active(self, session_id: SessionId) -> list[str]:
        """Ids of those that are not finished."""
        return [claim.id for claim in self.of(session_id) if not claim.is_finished]

    def row(self, session_id: SessionId, *, enforced: bool) -> Row:
        return self._rows.get((session_id, enforced), Row())

    def set_row(self, session_id: SessionId, row: Row, *, enforced: bool) -> None:
        """Of sessions that never claimed anything nothing is remembered."""
        if session_id in self._by_session:
            self._rows[session_id, enforced] = row

    async def add(self, claim: Claim, limits: LimitsConfig) -> list[Claim]:
        """On disk when it returns -> what was given up for it. Raises LimitReached."""
        async with self._adding:
            given_up = await self._make_room(claim, limits)
            self._check_room(claim, limits)
            await self._store.create_claim(claim)
            self._enter(claim)
        self._on_change(claim.owner.session)
        return given_up

    async def _make_room(self, claim: Claim, limits: LimitsConfig) -> list[Claim]:
        """Claims of ended sessions wait for these to be resumed, but give way to those of one that lives."""
        given_up: list[Claim] = []
        while in_the_way := self._in_the_way(claim, limits):
            late = replace(in_the_way, phase=Phase.ABANDONED, finished_usec=claim.created_usec)
            with suppress(NoSuchClaim):  # it was released meanwhile: as good
                await self.put(late)
                given_up.append(late)
        return given_up

    def _in_the_way(self, claim: Claim, limits: LimitsConfig) -> Claim | None:
        """The oldest, of the user who has most of them: nobody's give way to another's many.

        None of a session that has as many as it may: it is refused whatever others give up.
        """
        full = self._full(claim, limits)
        left = [known for known in full.active if self._is_left(known)] if full and full.is_shared else []
        counts = Counter(known.uid for known in left)
        return max(left, key=lambda known: counts[known.uid], default=None)

    def _is_left(self, claim: Claim) -> bool:
        session = self._registry.find(claim.owner.session)
        return session is None or not session.is_current

    def _check_room(self, claim: Claim, limits: LimitsConfig) -> None:
        if full := self._full(claim, limits):
            raise LimitReached(
                f"No more claims: {full.whose} {full.limit} that are active; finish some first."
            )

    def _full(self, claim: Claim, limits: LimitsConfig) -> _Bound | None:
        """The first bound that leaves no room for one more."""
        active = [known for known in self._claims.values() if not known.is_finished]
        of_user = [known for known in active if known.uid == claim.uid]
        of_session = [known for known in active if known.owner.session == claim.owner.session]
        bounds = (
            _Bound("this session has", of_session, limits.claims_per_session),
            _Bound(f"user {claim.uid} has", of_user, limits.claims_per_user, is_shared=True),
            _Bound("there are", active, limits.claims, is_shared=True),
        )
        return next((bound for bound in bounds if len(bound.active) >= bound.limit), None)

    async def put(self, *claims: Claim) -> None:
        """They take their new values at once, and are on disk when this returns.

        What cannot be written is taken back, and raised once it is known what became of the others.
        """
        before = [self.get(claim.id) for claim in claims]
        for claim in claims:
            self._claims[claim.id] = claim
        # Not `all_of`: nobody could say of a save that is cancelled whether it came onto the disk.
        for failure in await asyncio.gather(*map(self._save, before, claims), return_exceptions=True):
            if failure is not None:
                raise failure

    async def _save(self, before: Claim, claim: Claim) -> None:
        try:
            await self._store.save_claim(claim)
        except Failed:
            if self._claims.get(claim.id) is claim:
                self._claims[claim.id] = before
            raise
        if claim.id not in self._claims:  # released while it was written
            await self._store.remove_claim(claim.id)
            raise NoSuchClaim(f"Claim '{claim.id}' was released meanwhile.")
        if claim.is_finished is not before.is_finished:
            self._on_change(claim.owner.session)
            await self._forget_finished(claim)

    async def remove(self, claim_id: ClaimId) -> None:
        """Gone for good when this returns."""
        claim = self._claims.pop(claim_id, None)
        if claim is None:
            return  # by somebody else meanwhile
        self._by_session[claim.owner.session].remove(claim_id)
        try:
            await self._store.remove_claim(claim_id)
        except Failed:
            self._enter(claim)
            raise
        self._on_change(claim.owner.session)

    async def _forget_finished(self, latest: Claim) -> None:
        of_session = [claim for claim in self.of(latest.owner.session) if claim.is_finished]
        of_user = [claim for claim in self if claim.is_finished and claim.uid == latest.uid]
        with suppress(Failed):  # they are remembered a little longer
            for claim in (*of_session[:-FINISHED_PER_SESSION], *of_user[:-FINISHED_PER_USER]):
                await self.remove(claim.id)

    async def forget_ownerless(self) -> None:
        """Claims go when their session is forgotten: nobody else can ever be their owner."""
        for session_id in [known for known in self._by_session if known not in self._registry]:
            for claim in self.of(session_id):
                await self.remove(claim.id)
            self._by_session.pop(session_id, None)
            self._rows.pop((session_id, False), None)
            self._rows.pop((session_id, True), None)
