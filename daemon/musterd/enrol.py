"""How a session begins: from its process and from what its caller says."""

from musterd.core.session import Agent, Session, Source, State
from musterd.core.spec import Spec, new_session_id
from musterd.warden_port import Leader


def seen(leader: Leader, spec: Spec, now: int) -> Session:
    """A session as its process shows it; what the caller says of it wins."""
    facts = leader.facts
    return Session(
        id=new_session_id(),
        agent=leader.agent,
        uid=facts.uid,
        leader=leader.process,
        cwd=spec.cwd or facts.cwd,
        agent_session_id=spec.agent_session_id or leader.agent_session_id,
        transcript=spec.transcript or leader.transcript,
        terminal=spec.terminal or leader.terminal,
        scope=leader.scope,
        command=spec.command or facts.argv,
        resume_command=spec.resume_command,
        environ=leader.environ,
        title=spec.title,
        labels=spec.labels,
        version=leader.version,
        executable=facts.executable,
        started_usec=facts.start_usec,
        created_usec=now,
        state_source=Source.PROCESS,
    )


def said(uid: int, spec: Spec, now: int) -> Session:
    """A session on another host: all that is known of it is what its caller says."""
    return Session(
        id=new_session_id(),
        agent=spec.agent or Agent.OTHER,
        uid=uid,
        leader=None,
        cwd=spec.cwd,
        host=spec.host,
        agent_session_id=spec.agent_session_id,
        transcript=spec.transcript,
        terminal=spec.terminal,
        command=spec.command,
        resume_command=spec.resume_command,
        title=spec.title,
        labels=spec.labels,
        created_usec=now,
        heartbeat_usec=now,
        state=State.IDLE,
        state_source=Source.CALLER,
    )
