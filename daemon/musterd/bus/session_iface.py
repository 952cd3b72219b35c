"""org.musterd.Muster1.Session: the properties of one session."""

from typing import Any

from musterd.core.case import Explanation
from musterd.core.errors import NoSuchSession
from musterd.core.evidence import Usage
from musterd.core.session import Session
from musterd.judge import Judge
from musterd.manager import Manager

from .call import Call
from .contract import Values
from .names import PROPERTIES, session_id_of

GAUGES = ("Memory", "CPUUSec", "Tasks")


class SessionInterface:
    """What each property tells, and in which unit, stands in dbus/org.musterd.Muster1.Session.xml."""

    def __init__(self, manager: Manager, judge: Judge) -> None:
        self._manager = manager
        self._judge = judge

    async def properties(self, call: Call, path: str) -> Values:
        session_id = session_id_of(path)
        if session_id is None:
            raise NoSuchSession(f"There is no session at '{path}'.")
        if _asks_for_gauges(call):
            await self._judge.measure(self._manager.registry.get(session_id))
        session = self._manager.registry.get(session_id)
        claims = self._manager.claims.active(session.id)
        verdict, usage = self._judge.verdict(session.id), self._judge.last_usage(session.id)
        return {**session_values(session, verdict, usage), "Claims": claims}


def _asks_for_gauges(call: Call) -> bool:
    """Measuring walks all of /proc: not for each title, nor for each session of a list."""
    if call.interface != PROPERTIES:
        return False
    return call.member == "GetAll" or call.args[1] in GAUGES


def session_values(session: Session, verdict: Explanation | None, usage: Usage) -> dict[str, Any]:
    """All but its claims, which are kept apart."""
    return {
        "Id": session.id,
        "Agent": session.agent.value,
        "UID": session.uid,
        "State": session.state.value,
        "StateSource": session.told_by.value,
        "CWD": session.cwd,
        "Title": session.title,
        "Leader": session.leader.pid if session.leader else 0,
        "Terminal": session.terminal,
        "AgentSessionId": session.agent_session_id,
        "Transcript": session.transcript,
        "CreatedUSec": session.created_usec,
        "LastActivityUSec": session.last_activity_usec,
        "LastHookUSec": session.hooked_usec,
        "IdleSinceUSec": session.idle_since_usec,
        "Protected": session.protected,
        "Memory": usage.memory,
        "CPUUSec": usage.cpu_usec,
        "Tasks": usage.tasks,
        "Scope": session.scope if session.is_current else "",
        "Resumable": session.is_resumable,
        "ResumeCommand": list(session.resume_command),
        "LastError": session.last_error,
        "EndedReason": session.ended_reason,
        "EndedUSec": session.ended_usec,
        "Verdict": verdict.verdict.value if verdict else "",
        "KeptBy": verdict.kept_by if verdict else "",
    }
