"""The roll: which sessions there are, and who may be added."""

from dataclasses import dataclass, field

from musterd.core.config import LimitsConfig
from musterd.core.errors import AlreadyRegistered, LimitReached, NoSuchSession
from musterd.core.session import Agent, PidRef, Session, SessionId


@dataclass(slots=True)
class Registry:
    """Sessions by id, and the indexes that make look-ups cheap. Ended ones stay until they are forgotten."""

    _sessions: dict[SessionId, Session] = field(default_factory=dict)
    _by_pid: dict[int, SessionId] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._sessions

    def current(self, uid: int | None = None) -> list[Session]:
        """Sessions that have not ended, oldest first."""
        return [s for s in self._sessions.values() if s.is_current and uid in (None, s.uid)]

    def past(self, uid: int | None = None) -> list[Session]:
        """Ended sessions that are still remembered, the latest first."""
        ended = [s for s in self._sessions.values() if not s.is_current and uid in (None, s.uid)]
        return sorted(ended, key=lambda s: s.ended_usec, reverse=True)

    def get(self, session_id: str) -> Session:
        try:
            return self._sessions[SessionId(session_id)]
        except KeyError:
            raise NoSuchSession(f"No session '{session_id[:64]}' is on the roll.") from None

    def find(self, session_id: str) -> Session | None:
        return self._sessions.get(SessionId(session_id))

    def by_leader(self, leader: PidRef) -> Session | None:
        session_id = self._by_pid.get(leader.pid)
        if session_id is None:
            return None
        session = self._sessions[session_id]
        return session if session.leader and session.leader.is_same(leader) else None

    def by_agent_session(self, agent: Agent, agent_session_id: str, uid: int | None) -> list[Session]:
        if not agent_session_id:
            return []
        return [s for s in self.current(uid) if s.agent is agent and s.agent_session_id == agent_session_id]

    def check_room(self, uid: int, limits: LimitsConfig) -> None:
        """Raises LimitReached where one more session of this user would be too many."""
        if len(self.current(uid)) >= limits.sessions_per_user:
            raise LimitReached(f"User {uid} has {limits.sessions_per_user} sessions on the roll already.")
        if len(self.current()) >= limits.sessions:
            raise LimitReached(f"There are {limits.sessions} sessions on the roll already.")

    def admit(self, session: Session) -> None:
        """A new session comes on the roll. Its leader must not lead another one."""
        if session.id in self._sessions:
            raise AlreadyRegistered(f"The id '{session.id}' is taken.")
        if session.leader and session.is_current and self.by_leader(session.leader):
            raise AlreadyRegistered(f"Process {session.leader.pid} leads a session already.")
        self.put(session)

    def put(self, session: Session) -> None:
        """A session takes its new value."""
        before = self._sessions.get(session.id)
        if before and before.leader and self._by_pid.get(before.leader.pid) == session.id:
            del self._by_pid[before.leader.pid]
        self._sessions[session.id] = session
        if session.leader and session.is_current:
            self._by_pid[session.leader.pid] = session.id

    def forget(self, session_id: SessionId) -> None:
        session = self._sessions.pop(session_id, None)
        if session and session.leader and self._by_pid.get(session.leader.pid) == session_id:
            del self._by_pid[session.leader.pid]
