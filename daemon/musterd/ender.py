"""The one place from which sessions are ended. Whoever wants one to end takes its lease first.

An order of its user and the reaper's decision can meet, and its own exit either of them. The lease puts the
first two one after the other; the state file says what an end was for, even if the daemon is gone by then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from musterd.core.errors import Busy, Failed, NoSuchSession
from musterd.core.evidence import Observation
from musterd.core.life import said_state
from musterd.core.session import Session, SessionId, State
from musterd.core.units import size
from musterd.manager import Manager
from musterd.ports import Caller, Record
from musterd.warden_port import Ending


@dataclass(slots=True)
class Lease:
    """The right to end one session, until it is given back or revoked."""

    session: SessionId
    holder: str
    is_ending: bool = False  # the first signal is on its way: too late to revoke
    is_revoked: bool = False


class Ender:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._leases: dict[SessionId, Lease] = {}

    def is_leased(self, session_id: SessionId) -> bool:
        return session_id in self._leases

    @contextmanager
    def lease(self, session_id: SessionId, holder: str, *, revokes: bool = False) -> Iterator[Lease]:
        """Raises Busy while somebody else has it. A user's order revokes that of a reap in its grace."""
        held = self._leases.get(session_id)
        if held and (held.is_ending or not revokes):
            raise Busy(f"An end of session '{session_id}' by {held.holder} is under way.")
        if held:
            held.is_revoked = True
        lease = Lease(session_id, holder)
        self._leases[session_id] = lease
        try:
            yield lease
        finally:
            if self._leases.get(session_id) is lease:
                del self._leases[session_id]

    async def terminate(self, caller: Caller, session_id: str, why: str) -> Ending:
        """A user's order: the same way to its end as the reaper's, at once."""
        session = await self._manager.session(caller, session_id)
        if not session.is_current:
            raise NoSuchSession(f"Session '{session.id}' has ended already.")
        if session.leader is None:
            raise Failed(f"Session '{session.id}' is on another host: it can only be ended there.")
        with self.lease(session.id, f"user {caller.uid}", revokes=True) as lease:
            ending = await self.end(lease, session, "terminated", None)
        order = f"by order of user {caller.uid}, {ending.how}: {why}"
        if not ending.is_ended:
            failure = f"session '{session.id}' could not be ended {order}; {ending.obstacle}"
            self._manager.roll.record("end-failed", session, failure)
            raise Failed(f"Session '{session.id}' could not be ended: {ending.obstacle}.")
        self._manager.roll.record("terminated", session, f"session '{session.id}' was ended {order}")
        return ending

    async def end(self, lease: Lease, session: Session, reason: str, look: Observation | None) -> Ending:
        """The recipe to resume it and the reason are on disk before anything is sent.

        With a look, nothing is sent unless all is still as it was then.
        """
        lease.is_ending = True
        manager = self._manager
        stopping = replace(session, state=State.STOPPING, ending=reason)
        manager.roll.change(session, stopping)
        try:
            await manager.ports.store.save(stopping)
            ending = await (await manager.warden_of(session.uid)).end(stopping, look)
        except NoSuchSession:
            ending = Ending(is_ended=True, how="by itself")
        except BaseException:
            self._take_back(session.id)
            raise
        self._settle(session.id, ending)
        return ending

    def _settle(self, session_id: SessionId, ending: Ending) -> None:
        """What the end made of the session."""
        session = self._manager.registry.find(session_id)
        if session is None or not session.is_current:
            return
        left = ending.obstacle
        if ending.is_ended:
            self._manager.roll.end(session, session.ending)
        elif session.id in self._manager.roll.gone:
            self._manager.roll.end(replace(session, last_error=f"left of it: {left}"), session.ending)
        elif ending.was_kept:
            self._take_back(session_id)
        else:
            failed = replace(session, state=State.FAILED, last_error=f"could not be ended: {left}")
            self._manager.roll.change(session, failed)
        self._manager.roll.gone.discard(session_id)

    def _take_back(self, session_id: SessionId) -> None:
        """Nothing was sent, or it is not known: what it says of itself is what counts."""
        session = self._manager.registry.find(session_id)
        if session is None or not session.is_current:
            return
        if session_id in self._manager.roll.gone:
            self._manager.roll.gone.discard(session_id)
            self._manager.roll.end(session, "exited")
            return
        self._manager.roll.change(session, replace(session, state=said_state(session), ending=""))


def receipt(at: int, session: Session, ending: Ending, evidence: str) -> Record:
    """What an owner wants to know of a session that the reaper ended, or failed to end."""
    fields: dict[str, str | int] = {
        "freed": ending.freed,
        "how": ending.how,
        "left": "; ".join(ending.left),
        "resume": " ".join(session.resume_command),
    }
    kind, what = ("reaped", "was reaped") if ending.is_ended else ("end-failed", "could not be reaped")
    left = "" if ending.is_ended else f"{ending.obstacle}; "
    text = f"session '{session.id}' {what}, {ending.how}: {size(ending.freed)} came back; {left}{evidence}"
    return Record(at, kind, session.id, session.uid, text, fields)
