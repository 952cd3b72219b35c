"""The life of a session: what a second registration, and each utterance, make of it."""

from dataclasses import replace

from musterd.core.event import AgentEvent, EventKind
from musterd.core.session import Agent, Session, Source, State
from musterd.core.turn import Turn, fold

# Only these may bring a new conversation into a known process (`/clear`, `/new`, a resume from within).
_MAY_RENAME = (EventKind.SESSION_START, EventKind.TURN_START, EventKind.NOTE)

# From another conversation of the same process, only what speaks for keeping counts.
_SPEAKS_FOR_WORK = (EventKind.WORK, EventKind.WAITING, EventKind.RECOVERY_START)


def merged(known: Session, seen: Session) -> Session:
    """The same leader was registered again: what is said now wins, what is not said stays."""
    return replace(
        known,
        agent=seen.agent if known.agent is Agent.OTHER else known.agent,
        cwd=seen.cwd or known.cwd,
        agent_session_id=seen.agent_session_id or known.agent_session_id,
        transcript=seen.transcript or known.transcript,
        terminal=seen.terminal or known.terminal,
        command=seen.command or known.command,
        resume_command=seen.resume_command or known.resume_command,
        title=seen.title or known.title,
        labels=seen.labels or known.labels,
        version=seen.version or known.version,
        executable=seen.executable or known.executable,
    )


def heard(session: Session, event: AgentEvent, source: Source) -> Session:
    """The session after one utterance of its agent."""
    other = event.agent_session_id and event.agent_session_id != session.agent_session_id
    if other and session.agent_session_id and not event.subagent:
        if event.kind in _MAY_RENAME and event.at >= session.turn.last_word:  # not one that is told late
            session = replace(
                session,
                agent_session_id=event.agent_session_id,
                transcript="",
                resume_command=(),
                title="",
                turn=Turn(first=session.turn.first),
            )
        elif event.kind not in _SPEAKS_FOR_WORK:
            return session
    session = replace(session, turn=fold(session.turn, event))
    if not event.subagent:
        session = _told(session, event)
    state = _state(session, event)
    return session if state is session.state else replace(session, state=state, state_source=source)


def _told(session: Session, event: AgentEvent) -> Session:
    """With what the utterance tells of the session itself."""
    may_name = not session.agent_session_id or event.kind in _MAY_RENAME
    return replace(
        session,
        agent_session_id=(event.agent_session_id if may_name else "") or session.agent_session_id,
        transcript=event.transcript or session.transcript,
        cwd=event.cwd or session.cwd,
        title=event.title or session.title,
        version=event.version or session.version,
    )


def _state(session: Session, event: AgentEvent) -> State:
    if session.state in (State.ENDED, State.STOPPING, State.FAILED):
        return session.state
    said = settled_state(session.turn)
    if said is State.STARTING:
        return State.IDLE if event.kind is EventKind.SESSION_START else session.state
    return said


def settled_state(turn: Turn) -> State:
    """What a session does by its own word alone; `starting` if it has not said."""
    if turn.waiting:
        return State.WAITING
    if turn.is_working:
        return State.BUSY
    return State.IDLE if turn.ended or turn.settled else State.STARTING


def revived(past: Session, seen: Session, now: int) -> Session:
    """An ended session, brought back by a new process: young again, and with nothing said yet."""
    return replace(
        past,
        leader=seen.leader,
        terminal=seen.terminal or past.terminal,
        transcript=seen.transcript or past.transcript,
        version=seen.version or past.version,
        executable=seen.executable or past.executable,
        started_usec=seen.started_usec,
        created_usec=now,
        resumed_usec=now,
        state=State.STARTING,
        state_source=Source.PROCESS,
        turn=Turn(),
        ended_usec=0,
        ended_reason="",
        ending="",
        last_error="",
    )


def is_worth_saving(before: Session, after: Session) -> bool:
    """Whether a restart would miss the difference. Signs of work within a turn come often, and are not."""
    return _durable(before) != _durable(after)


def _durable(session: Session) -> Session:
    return replace(session, heartbeat_usec=0, turn=replace(session.turn, heard=0, started=0))
