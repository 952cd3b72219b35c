"""The sessions on the roll: how they come onto it, change and go, and who is told, what is written."""

from contextlib import suppress
from dataclasses import replace

from musterd.core import life
from musterd.core.config import LimitsConfig
from musterd.core.errors import MusterError, NoSuchSession
from musterd.core.event import AgentEvent
from musterd.core.registry import Registry
from musterd.core.session import Session, SessionId, Source
from musterd.inhibitors import Inhibitors
from musterd.keeper import Keeper
from musterd.ports import Ports, Record


class Roll:
    """Every change of a session goes through here; `registry` has them as they are now."""

    def __init__(self, registry: Registry, ports: Ports, keeper: Keeper, inhibitors: Inhibitors) -> None:
        self.registry = registry
        self.gone: set[SessionId] = set()  # stopping, and the leader has ended
        self._ports = ports
        self._keeper = keeper
        self._inhibitors = inhibitors
        self._enrolling: set[SessionId] = set()  # nobody was told of them yet
        self._asking: set[SessionId] = set()  # whether their turn may end

    # They come

    async def enlist(self, session: Session, how: str, limits: LimitsConfig) -> Session:
        """On the roll, on disk, watched, announced; undone when a later step fails."""
        self.registry.check_room(session.uid, limits)
        self.registry.admit(session)
        self._enrolling.add(session.id)
        try:
            # The file comes first: a change of it that is written meanwhile would make it, and it be taken.
            await self._ports.store.create(session)
            await self._watch_new(session)
        except BaseException:  # a call that is cancelled must not leave half a session, either
            self.registry.forget(session.id)
            raise
        finally:
            self._enrolling.discard(session.id)
        session = self.registry.get(session.id)
        place = f"{session.agent} in {session.cwd}"
        self.record("registered", session, f"session '{session.id}' {how}: {place}")
        self._ports.announcer.session_new(session)
        if not session.is_current:  # it ended while it was being written
            self._announce_end(session)
        return session

    async def _watch_new(self, session: Session) -> None:
        if session.leader is None:
            return
        try:
            await self.watch(session)
        except BaseException:
            self._unwatch(session)
            self.registry.forget(session.id)  # first: whoever saves it meanwhile sees that it is gone
            with suppress(MusterError):  # the next start looks whether it lives
                await self._ports.store.remove(session.id)
            raise

    async def revive(self, past: Session, seen: Session) -> Session:
        """An ended session was started again: the same entry, with a new leader."""
        session = life.revived(past, seen, self._ports.clock.now())
        await self.watch(session)
        await self._ports.store.save(session)
        if self.registry.find(past.id) is not past:
            self._unwatch(session)
            raise NoSuchSession(f"Session '{past.id}' was released meanwhile.")
        self.registry.put(session)
        place = f"{session.agent} in {session.cwd}"
        self.record("resumed", session, f"session '{session.id}' was resumed: {place}")
        self._ports.announcer.session_new(session)
        return session

    # They change

    async def update(self, known: Session, seen: Session) -> Session:
        """It was registered again. On disk when it returns."""
        after = life.merged(known, seen)
        self.change(known, after)
        await self.save(known.id)
        await self._watch_anew(known, after)
        return self.registry.get(known.id)

    async def hear(self, session_id: SessionId, event: AgentEvent, source: Source) -> None:
        """An agent said something, whichever way."""
        before = self.registry.find(session_id)
        if before is None or not before.is_current:
            return
        after = self.completed(life.heard(before, event, source))
        if session_id in self._asking:
            after = life.going_on(after)
        self.change(before, after)
        await self._watch_anew(before, after)

    def asks(self, session_id: SessionId) -> None:
        """Its agent waits to hear whether its turn may end, and may have to go on: until then it is busy."""
        self._asking.add(session_id)
        if session := self.registry.find(session_id):
            self.change(session, life.going_on(session))

    def answered(self, session_id: SessionId) -> None:
        """What it is now comes with the next that is heard of it."""
        self._asking.discard(session_id)

    def completed(self, session: Session) -> Session:
        """With the resume recipe its adapter knows, unless the caller gave one."""
        if session.resume_command:
            return session
        return replace(session, resume_command=self._ports.adapters[session.agent].resume_command(session))

    def change(self, before: Session, after: Session) -> None:
        if after == before:
            return
        self.registry.put(after)
        self._ports.announcer.session_changed(before, after)
        if after.state is not before.state:
            self.record("state", after, f"{before.state} → {after.state} ({after.told_by})")
        if life.is_worth_saving(before, after):
            self._keeper.want(after.id)

    # They are watched

    async def watch(self, session: Session) -> None:
        """Its warden looks for what it says where that is by now.

        What a hook told meanwhile may have reached its warden sooner than this, and be undone by it.
        """
        await (await self._ports.wardens.get(session.uid)).watch(session)
        now = self.registry.find(session.id)
        if now is not None and now.is_current:
            await self._watch_anew(session, now)

    async def _watch_anew(self, before: Session, after: Session) -> None:
        """Its warden looks elsewhere for what it says."""
        if (after.transcript, after.agent_session_id) != (before.transcript, before.agent_session_id):
            await self.watch(after)

    def _unwatch(self, session: Session) -> None:
        if warden := self._ports.wardens.find(session.uid):
            warden.unwatch(session.id)

    # They go

    def end(self, session: Session, reason: str) -> None:
        after = session.ended(reason, self._ports.clock.now())
        self.registry.put(after)
        self._unwatch(after)
        self._inhibitors.drop(after.id)
        if after.id not in self._enrolling:
            self._announce_end(after)
        self._keeper.want(after.id)

    def _announce_end(self, session: Session) -> None:
        self.record("ended", session, f"session '{session.id}' ended: {session.ended_reason}")
        self._ports.announcer.session_removed(session, session.ended_reason)

    # They are remembered

    async def save(self, session_id: SessionId) -> None:
        """As it is now, on disk when this returns. Raises NoSuchSession if it was released meanwhile."""
        await self._ports.store.save(self.registry.get(session_id))
        if session_id not in self.registry:
            await self._ports.store.remove(session_id)
            raise NoSuchSession(f"Session '{session_id}' was released meanwhile.")

    def record(self, kind: str, session: Session, text: str) -> None:
        self._ports.log.append(Record(self._ports.clock.now(), kind, session.id, session.uid, text))
