"""The life of a session: what a second registration, and each utterance, make of it."""

from collections.abc import Mapping
from dataclasses import replace

from musterd.core.event import AgentEvent, EventKind
from musterd.core.session import Agent, Conversation, Session, Source, State
from musterd.core.turn import Turn, closed, fold

# These may bring a new conversation into a known process (`/clear`, `/new`, a resume from within).
_MAY_RENAME = (EventKind.SESSION_START, EventKind.TURN_START)

MAX_OTHERS = 16  # conversations that are remembered beside the current one
_MORE = "more"


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
        environ=seen.environ or known.environ,
        title=seen.title or known.title,
        labels=seen.labels or known.labels,
        version=seen.version or known.version,
        executable=seen.executable or known.executable,
        scope=seen.scope or known.scope,
    )


def heard(session: Session, event: AgentEvent, source: Source) -> Session:
    """The session after one utterance of its agent."""
    if source is Source.HOOK:
        session = replace(session, hooked_usec=max(session.hooked_usec, event.at))
    event = _of_subagent(session, event)
    if _is_of_another(session, event) and _may_rename(session, event, source):
        session = _renamed(session, event.agent_session_id)
    if not _is_of_another(session, event):
        session = replace(session, turn=fold(session.turn, event))
        if not event.subagent:
            session = _told(session, event, source)
    elif source is not Source.TRANSCRIPT or event.at >= session.started_usec:
        session = _with_word_of_another(session, event)
    state = _state(session, event)
    return session if state is session.state else replace(session, state=state, state_source=source)


def going_on(session: Session) -> Session:
    """Whoever asks whether its turn may end has not ended it: an end that is no proof does not count yet."""
    if session.state is not State.IDLE or session.turn.is_settled:
        return session
    return replace(session, state=State.BUSY, state_source=Source.HOOK)


def held(session: Session, stop: AgentEvent) -> AgentEvent:
    """What a stop says that was not allowed: the turn goes on after all its ends that are no proof."""
    turn = session.turn
    at = stop.at if turn.settled >= stop.at else max(stop.at, turn.ended)
    return replace(stop, kind=EventKind.WORK, at=at)


def _is_of_another(session: Session, event: AgentEvent) -> bool:
    return bool(session.agent_session_id) and event.agent_session_id not in ("", session.agent_session_id)


def _may_rename(session: Session, event: AgentEvent, source: Source) -> bool:
    """A transcript may hold the records of a conversation that it was forked from: it renames nothing."""
    if event.kind is EventKind.NOTE:
        return source is Source.PROCESS  # by the files that it holds
    is_late = event.at < session.turn.last_word
    return (
        event.kind in _MAY_RENAME and source is not Source.TRANSCRIPT and not event.subagent and not is_late
    )


def _of_subagent(session: Session, event: AgentEvent) -> AgentEvent:
    """As its parent's, where a subagent speaks like a conversation of its own."""
    name = event.subagent or event.agent_session_id
    known = [Conversation(session.agent_session_id, session.turn), *session.others]
    parent = next((conversation for conversation in known if conversation.turn.has_subagent(name)), None)
    if parent is None:
        return event
    is_end = not event.subagent and event.kind in (EventKind.SETTLED, EventKind.SESSION_END)
    kind = EventKind.SUBAGENT_END if is_end else event.kind
    return replace(event, kind=kind, subagent=name, agent_session_id=parent.id)


def _renamed(session: Session, name: str) -> Session:
    """The process goes on with another conversation; what it did in the one before may go on, too."""
    known = {other.id: other.turn for other in session.others}
    turn = known.pop(name, Turn())
    return replace(
        session,
        agent_session_id=name,
        transcript="",
        resume_command=(),
        title="",
        turn=replace(turn, first=session.turn.first),
        others=_bounded({**known, session.agent_session_id: closed(session.turn)}),
    )


def _with_word_of_another(session: Session, event: AgentEvent) -> Session:
    """Each conversation has a turn of its own: what ends in one ends in no other."""
    known = {other.id: other.turn for other in session.others}
    turn = known.get(event.agent_session_id, Turn())
    known[event.agent_session_id] = closed(fold(turn, event))
    return replace(session, others=_bounded(known))


def _bounded(turns: Mapping[str, Turn]) -> tuple[Conversation, ...]:
    """Who is at rest is forgotten first. What does not fit even so is one that never ends."""
    known = [Conversation(name, turn) for name, turn in turns.items()]
    if len(known) <= MAX_OTHERS:
        return tuple(known)
    known.sort(key=lambda other: (not other.turn.is_at_rest, other.turn.last_word))
    first, *rest = known
    return tuple(rest) if first.turn.is_at_rest else (replace(rest[0], id=_MORE), *rest[1:])


def _told(session: Session, event: AgentEvent, source: Source) -> Session:
    """With what the utterance tells of the session itself."""
    # Records of a process before this one tell of the version that it was; its own package knows better.
    is_of_now = source is not Source.TRANSCRIPT or event.at >= session.started_usec
    return replace(
        session,
        agent_session_id=session.agent_session_id or event.agent_session_id,
        transcript=event.transcript or session.transcript,
        cwd=event.cwd or session.cwd,
        title=event.title or session.title,
        version=session.version or (event.version if is_of_now else ""),
    )


def _state(session: Session, event: AgentEvent) -> State:
    if session.state in (State.ENDED, State.STOPPING, State.FAILED):
        return session.state
    said = said_state(session)
    if said is not State.STARTING:
        return said
    # It has said nothing of its own: what was busy before was another conversation.
    is_free = event.kind is EventKind.SESSION_START or session.state in (State.BUSY, State.WAITING)
    return State.IDLE if is_free else session.state


def said_state(session: Session) -> State:
    """What a session does by the word of all its conversations; `starting` if it has not said."""
    said = [_turn_state(turn) for turn in (session.turn, *(other.turn for other in session.others))]
    return next((state for state in (State.WAITING, State.BUSY) if state in said), said[0])


def _turn_state(turn: Turn) -> State:
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
        scope=seen.scope,
        transcript=seen.transcript or past.transcript,
        version=seen.version,
        executable=seen.executable or past.executable,
        environ=seen.environ or past.environ,
        started_usec=seen.started_usec,
        created_usec=now,
        resumed_usec=now,
        hooked_usec=0,
        state=State.STARTING,
        state_source=Source.PROCESS,
        turn=Turn(),
        others=(),
        ended_usec=0,
        ended_reason="",
        ending="",
        last_error="",
    )


def is_worth_saving(before: Session, after: Session) -> bool:
    """Whether a restart would miss the difference. Signs of work within a turn come often, and are not."""
    return _durable(before) != _durable(after)


def _durable(session: Session) -> Session:
    others = tuple(replace(other, turn=_durable_turn(other.turn)) for other in session.others)
    hooked = int(session.hooked_usec > 0)
    return replace(
        session, heartbeat_usec=0, hooked_usec=hooked, turn=_durable_turn(session.turn), others=others
    )


def _durable_turn(turn: Turn) -> Turn:
    subagents = tuple(replace(subagent, heard=0) for subagent in turn.subagents)
    return replace(turn, heard=0, started=int(turn.is_working), subagents=subagents)
