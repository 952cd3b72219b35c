"""org.musterd.Muster1.Manager: parse, ask who it is, call the manager, reply."""

import json
from collections.abc import Sequence
from typing import Any

from dbus_fast import Variant

from musterd import __version__
from musterd.agents.base import Json
from musterd.core.errors import InvalidArgs
from musterd.core.session import Agent
from musterd.core.spec import agent, parse_spec
from musterd.ender import Ender
from musterd.hooks import Hooks
from musterd.inhibiting import Inhibiting
from musterd.inhibitors import INHIBITORS_PER_USER
from musterd.manager import Manager
from musterd.ports import Record
from musterd.remote import RemoteSessions
from musterd.reviver import Reviver

from .call import Call, Handler
from .contract import Values
from .door import Door, page, row
from .holds import Holds
from .names import session_path

NO_UID = 0xFFFFFFFF  # of an event that is about no user


class ManagerInterface:
    """What each member takes, returns and refuses is told in dbus/org.musterd.Muster1.Manager.xml."""

    def __init__(
        self,
        manager: Manager,
        hooks: Hooks,
        remote: RemoteSessions,
        ender: Ender,
        reviver: Reviver,
        inhibiting: Inhibiting,
        door: Door,
        holds: Holds,
    ) -> None:
        self._manager = manager
        self._hooks = hooks
        self._remote = remote
        self._ender = ender
        self._reviver = reviver
        self._inhibiting = inhibiting
        self._door = door
        self._holds = holds

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "RegisterSession": self._register_session,
            "ReleaseSession": self._release_session,
            "Heartbeat": self._heartbeat,
            "ListSessions": self._list_sessions,
            "ListSessionsPage": self._list_sessions_page,
            "ListEndedSessions": self._list_ended_sessions,
            "GetSession": self._get_session,
            "GetSessionByPID": self._get_session_by_pid,
            "GetSessionByAgentSession": self._get_session_by_agent_session,
            "ReportEvent": self._report_event,
            "Inhibit": self._inhibit,
            "ListInhibitors": self._list_inhibitors,
            "SetProtected": self._set_protected,
            "TerminateSession": self._terminate_session,
            "ResumeSession": self._resume_session,
            "ResumeSessionAnyway": self._resume_session_anyway,
            "ListEvents": self._list_events,
        }

    async def properties(self, _call: Call, _path: str) -> Values:
        return manager_values(self._manager)

    async def _register_session(self, call: Call) -> Sequence[object]:
        spec = parse_spec({key: variant.value for key, variant in call.args[0].items()})
        home = self._remote if spec.host else self._manager
        session = await home.register(await self._door.caller(call), spec)
        return [session.id, session_path(session.id)]

    async def _release_session(self, call: Call) -> None:
        await self._manager.release(await self._door.caller(call), call.args[0])

    async def _heartbeat(self, call: Call) -> None:
        await self._remote.heartbeat(await self._door.caller(call), call.args[0])

    async def _list_sessions(self, call: Call) -> Sequence[object]:
        return [page(self._manager.visible(await self._door.caller(call)), 0, 0, row)]

    async def _list_sessions_page(self, call: Call) -> Sequence[object]:
        sessions = self._manager.visible(await self._door.caller(call))
        offset, limit = call.args
        return [page(sessions, offset, limit, row), len(sessions)]

    async def _list_ended_sessions(self, call: Call) -> Sequence[object]:
        sessions = self._manager.visible(await self._door.caller(call), past=True)
        offset, limit = call.args
        return [page(sessions, offset, limit, row), len(sessions)]

    async def _get_session(self, call: Call) -> Sequence[object]:
        session = await self._manager.session(await self._door.caller(call), call.args[0])
        return [session_path(session.id)]

    async def _get_session_by_pid(self, call: Call) -> Sequence[object]:
        session = await self._manager.by_pid(await self._door.caller(call), call.args[0])
        return [session_path(session.id)]

    async def _get_session_by_agent_session(self, call: Call) -> Sequence[object]:
        name, agent_session_id = call.args
        caller = await self._door.caller(call)
        session = await self._manager.by_agent_session(caller, _agent(name), agent_session_id)
        return [session_path(session.id)]

    async def _report_event(self, call: Call) -> Sequence[object]:
        name, event, payload = call.args
        caller = await self._door.caller(call)
        return await self._hooks.report_event(
            caller, _agent(name), event, _json(payload), begun=call.arrived
        )

    async def _inhibit(self, call: Call) -> Sequence[object]:
        inhibitor = await self._inhibiting.inhibit(await self._door.caller(call), *call.args)
        fd = self._holds.give_out(inhibitor.number, await self._inhibiting.pipe_of(inhibitor))
        if inhibitor.number not in self._manager.inhibitors:  # its session ended meanwhile
            self._holds.drop(inhibitor.number)
        return [fd]

    async def _list_inhibitors(self, call: Call) -> Sequence[object]:
        inhibitors = self._inhibiting.visible(await self._door.caller(call))
        return [
            page(
                inhibitors,
                0,
                0,
                lambda i: [":".join(sorted(i.what)), i.who, i.why, i.mode.value, i.uid, i.pid, i.session],
            )
        ]

    async def _set_protected(self, call: Call) -> None:
        session_id, protected = call.args
        await self._manager.protect(await self._door.caller(call), session_id, protected=protected)

    async def _terminate_session(self, call: Call) -> None:
        session_id, why = call.args
        await self._ender.terminate(await self._door.caller(call), session_id, why)

    async def _resume_session(self, call: Call) -> Sequence[object]:
        session = await self._reviver.resume(await self._door.caller(call), call.args[0])
        return [session.id]

    async def _resume_session_anyway(self, call: Call) -> Sequence[object]:
        caller = await self._door.caller(call)
        return [(await self._reviver.resume(caller, call.args[0], is_asked=True)).id]

    async def _list_events(self, call: Call) -> Sequence[object]:
        limit, after, before, session_id = call.args
        caller = await self._door.caller(call)
        events = await self._manager.history(caller, limit or 1000, before, after, session_id)
        return [page(events, 0, limit, _event_row)]


def manager_values(manager: Manager) -> dict[str, Any]:
    reasons = manager.health.reasons
    pressure, reading = manager.pressure, manager.pressure.reading
    return {
        "Version": __version__,
        "Health": "degraded" if reasons else "ok",
        "HealthReasons": reasons,
        "NCurrentSessions": len(manager.registry.current()),
        "NInhibitors": len(manager.inhibitors),
        "SessionsMax": manager.config.limits.sessions,
        "SessionsPerUserMax": manager.config.limits.sessions_per_user,
        "InhibitorsPerUserMax": INHIBITORS_PER_USER,
        "Pressure": {
            "Tier": Variant("s", pressure.tier.value),
            "SinceUSec": Variant("t", pressure.since),
            "Source": Variant("s", reading.source.value),
            "SomeAvg10": Variant("d", reading.some_avg10),
            "FullAvg10": Variant("d", reading.full_avg10),
            "Available": Variant("t", reading.available),
            "Total": Variant("t", reading.total),
            "ReadUSec": Variant("t", reading.at),
        },
    }


def _event_row(event: tuple[int, Record]) -> list[object]:
    number, record = event
    uid = record.uid if record.uid >= 0 else NO_UID
    return [number, record.at, uid, record.kind, record.session, record.text]


def _agent(name: str) -> Agent:
    try:
        return agent(name)
    except ValueError as exc:
        raise InvalidArgs(f"agent '{name[:64]}' {exc}") from None


def _json(payload: str) -> Json:
    """A hook's payload: one JSON object. Nothing at all is an empty one."""
    try:
        value = json.loads(payload or "{}")
    except (ValueError, RecursionError) as exc:
        raise InvalidArgs(f"the payload is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise InvalidArgs("the payload is not a JSON object")
    return value
