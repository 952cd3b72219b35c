"""The manager's end of a warden that is a process of its own, and is believed about its own user only."""

from collections.abc import Mapping, Sequence

from musterd.core.evidence import Observation, Usage, Work
from musterd.core.session import Agent, PidRef, Session, SessionId
from musterd.warden_port import Ending, Leader, Leftover

from .belief import Nonsense, checked_leader
from .exchange import Exchange
from .look import missing


class RemoteWarden(Exchange):
    """Fulfils warden_port.Warden."""

    async def leader(self, pid: int, agent: Agent | None) -> Leader:
        leader: Leader = await self._call("leader", pid, agent)
        try:
            return checked_leader(leader, self.uid)
        except Nonsense as exc:
            raise self._disbelieve(exc) from exc

    async def lineage(self, pid: int) -> Sequence[PidRef]:
        lineage: Sequence[PidRef] = await self._call("lineage", pid)
        return lineage

    async def watch(self, session: Session) -> None:
        self._known.add(session.id)
        await self._call("watch", session)

    def unwatch(self, session_id: SessionId) -> None:
        self._order("unwatch", session_id)

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        ids = [session.id for session in sessions]
        looks: Mapping[SessionId, Observation] = await self._call("observe", ids, screens, asked=ids)
        now = self._clock.now()
        return {i: looks.get(i) or missing(now, "it is not watched") for i in ids}

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        ids = [session.id for session in sessions]
        usages: Mapping[SessionId, Usage] = await self._call("usage", ids, asked=ids)
        return usages

    async def work(self, session: Session, check_command: Sequence[str], seconds: float) -> Work:
        work: Work = await self._call("work", session, check_command, seconds, seconds=seconds)
        return work

    async def sweep(self) -> None:
        await self._call("sweep")

    def forget(self, process: PidRef) -> None:
        self._order("forget", process)

    async def end(self, session: Session, last_look: Observation | None) -> Ending:
        self._known.add(session.id)
        ending: Ending = await self._call("end", session, last_look)
        return ending

    async def reclaim(self, session: Session) -> int:
        freed: int = await self._call("reclaim", session)
        return freed

    async def leftovers(self, sessions: Sequence[Session]) -> Sequence[Leftover]:
        left: Sequence[Leftover] = await self._call("leftovers", sessions)
        ours = {session.id for session in sessions}
        if any(leftover.session not in ours for leftover in left):
            raise self._disbelieve("something would be left of a session that is none of its user's")
        return left

    async def end_leftovers(self, leftovers: Sequence[Leftover]) -> Ending:
        ending: Ending = await self._call("end_leftovers", leftovers)
        return ending

    async def resume(self, session: Session) -> None:
        await self._call("resume", session)

    async def close(self) -> None:
        self._drop("it is not needed any more")
