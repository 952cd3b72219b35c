"""The text of the state files: sessions, claims and the mode file as TOML, versioned, read strictly."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TypeVar

import tomli_w

from musterd.core.case import Mode
from musterd.core.claim import Budget, Claim, ClaimId, Owner, Phase, Row, Tally
from musterd.core.inhibitor import Inhibitor, What
from musterd.core.inhibitor import Mode as Inhibition
from musterd.core.session import Agent, Conversation, PidRef, Session, SessionId, Source, State
from musterd.core.stopgate import GateMode
from musterd.core.turn import Subagent, Turn

SESSION_VERSION = 1
MODE_VERSION = 1
CLAIM_VERSION = 1
INHIBITOR_VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """Who set a mode, when (realtime µs) and why."""

    by_uid: int = 0
    at: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class ClockMark:
    """What is known of the clock of this boot, for whoever looks at it next; all in µs."""

    boot_id: str = ""
    offset: int = 0  # realtime less CLOCK_BOOTTIME
    read: int = 0  # CLOCK_BOOTTIME of that
    stepped: int = 0  # as ports.Clock.stepped
    first: int = 0  # as ports.Clock.twice
    last: int = 0
    asleep: int = 0  # in suspends, since boot
    suspends: tuple[int, ...] = ()  # their begins and ends, as CLOCK_BOOTTIME


@dataclass(frozen=True, slots=True)
class Modes:
    """What mode.toml keeps."""

    reaper: Mode = Mode.DRY_RUN
    reaper_change: Change = field(default_factory=Change)
    auto_disabled_reason: str = ""
    disarmed_users: tuple[int, ...] = ()  # whom that is about; with a reason and no user, all
    actions: tuple[int, ...] = ()  # realtime µs of reaps, or would-be reaps, of the past hour
    gate: GateMode = GateMode.SHADOW
    gate_change: Change = field(default_factory=Change)
    kill_switch: bool = False  # of the stop gate
    kill_switch_change: Change = field(default_factory=Change)
    clock: ClockMark = field(default_factory=ClockMark)

    def is_disarmed(self, uid: int) -> bool:
        """Whether the reaper has disabled itself for sessions of this user."""
        return bool(self.auto_disabled_reason) and (not self.disarmed_users or uid in self.disarmed_users)

    def disarmed(self, reason: str, uid: int | None = None) -> "Modes":
        """For this user, or for all. Who was disarmed before stays so."""
        if uid is None or (self.auto_disabled_reason and not self.disarmed_users):
            return replace(self, auto_disabled_reason=reason, disarmed_users=())
        users = tuple(sorted({*self.disarmed_users, uid}))
        return replace(self, auto_disabled_reason=reason, disarmed_users=users)


def format_session(session: Session) -> str:
    table = {k: v for k, v in asdict(session).items() if k == "uid" or v not in (None, "", (), 0, False)}
    table["turn"] = _turn_table(session.turn)
    if session.others:
        table["others"] = [{"id": other.id, "turn": _turn_table(other.turn)} for other in session.others]
    return tomli_w.dumps({"version": SESSION_VERSION, "session": _plain(table)})


def parse_session(text: str) -> Session:
    """ValueError says what is wrong: not TOML, from the future, a key missing, unknown or mistyped."""
    table = _versioned(text, SESSION_VERSION, "session")
    leader = table.pop("leader", None)
    table["resumes"] = _numbers(table.get("resumes", []), "resumes")
    for name in ("command", "resume_command", "environ", "labels"):
        table[name] = _texts(table.get(name, []), name)
    table["agent"] = Agent(str(table.get("agent")))
    table["state"] = State(str(table.get("state")))
    table["state_source"] = Source(str(table.get("state_source", Source.NONE)))
    table["turn"] = _turn(table.get("turn", {}))
    table["others"] = tuple(_conversation(row) for row in _tables(table.get("others", []), "others"))
    table["leader"] = None if leader is None else _build(PidRef, dict(_table(leader, "leader")))
    session = _build(Session, table)
    if not session.id:
        raise ValueError("the id is missing")
    return session


def _turn_table(turn: Turn) -> dict[str, object]:
    return {key: value for key, value in asdict(turn).items() if value not in ("", (), 0)}


def _turn(value: object) -> Turn:
    turn = dict(_table(value, "turn"))
    rows = _tables(turn.get("subagents", []), "subagents")
    turn["subagents"] = tuple(_build(Subagent, row) for row in rows)
    turn["pending"] = _texts(turn.get("pending", []), "pending")
    return _build(Turn, turn)


def _conversation(row: Mapping[str, object]) -> Conversation:
    return _build(Conversation, {**row, "turn": _turn(row.get("turn", {}))})


def format_modes(modes: Modes) -> str:
    return tomli_w.dumps({"version": MODE_VERSION, "modes": _plain(asdict(modes))})


def parse_modes(text: str) -> Modes:
    table = _versioned(text, MODE_VERSION, "modes")
    table["reaper"] = Mode(str(table.get("reaper", Mode.DRY_RUN)))
    table["gate"] = GateMode(str(table.get("gate", GateMode.SHADOW)))
    for name in ("reaper_change", "gate_change", "kill_switch_change"):
        table[name] = _build(Change, _table(table.get(name, {}), name))
    clock = dict(_table(table.get("clock", {}), "clock"))
    clock["suspends"] = _numbers(clock.get("suspends", []), "suspends")
    table["clock"] = _build(ClockMark, clock)
    table["actions"] = _numbers(table.get("actions", []), "actions")
    table["disarmed_users"] = _numbers(table.get("disarmed_users", []), "disarmed_users")
    return _build(Modes, table)


def format_claim(claim: Claim) -> str:
    table = {**_said(asdict(claim)), "id": claim.id, "uid": claim.uid, "task": claim.task}
    leader = {"leader": asdict(claim.owner.leader)} if claim.owner.leader else {}
    table["owner"] = {**_said(asdict(claim.owner)), **leader}
    return tomli_w.dumps({"version": CLAIM_VERSION, "claim": _plain(table)})


def parse_claim(text: str) -> Claim:
    table = _versioned(text, CLAIM_VERSION, "claim")
    table["budget"] = Budget(str(table.get("budget")))
    table["phase"] = Phase(str(table.get("phase")))
    table["owner"] = _owner(_table(table.get("owner", {}), "owner"))
    for name in ("checklist", "done"):
        table[name] = _texts(table.get(name, []), name)
    for name in ("enforced", "shadowed"):
        table[name] = _tally(_table(table.get(name, {}), name))
    return _build(Claim, table)


def format_inhibitor(inhibitor: Inhibitor) -> str:
    table = {**asdict(inhibitor), "what": sorted(inhibitor.what)}
    return tomli_w.dumps({"version": INHIBITOR_VERSION, "inhibitor": _plain(table)})


def parse_inhibitor(text: str) -> Inhibitor:
    table = _versioned(text, INHIBITOR_VERSION, "inhibitor")
    table["what"] = frozenset(What(word) for word in _texts(table.get("what"), "what"))
    table["mode"] = Inhibition(str(table.get("mode")))
    return _build(Inhibitor, table)


def _owner(values: Mapping[str, object]) -> Owner:
    leader = _build(PidRef, _table(values["leader"], "leader")) if "leader" in values else None
    return _build(Owner, {**values, "leader": leader})


def _tally(values: Mapping[str, object]) -> Tally:
    row = dict(_table(values.get("row", {}), "row"))
    row["reasons"] = _texts(row.get("reasons", []), "reasons")
    return _build(Tally, {**values, "row": _build(Row, row)})


def _said(table: Mapping[str, object]) -> dict[str, object]:
    """Without what says nothing, at any depth."""
    rows = {key: _said(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in rows.items() if value not in (None, "", (), {}, 0, False)}


def _versioned(text: str, known: int, name: str) -> dict[str, object]:
    document = tomllib.loads(text)
    if document.get("version") != known:
        raise ValueError(f"version {document.get('version')!r} of the file is not {known}")
    return dict(_table(document.get(name), name))


def _build(kind: type[T], values: Mapping[str, object]) -> T:
    """A dataclass from a table; every value must have the type of the field's default or annotation."""
    types = {row.name: row.type for row in fields(kind)}  # type: ignore[arg-type]  # only dataclasses come
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"unknown key '{name}'")
        expected = types[name]
        if expected in (int, str, bool, SessionId, ClaimId) and type(value) is not _base(expected):
            raise ValueError(f"'{name}' has a wrong type")
    try:
        return kind(**values)
    except TypeError as exc:
        raise ValueError(str(exc)) from None


def _base(kind: object) -> object:
    return str if kind in (SessionId, ClaimId) else kind


def _table(value: object, name: str) -> Mapping[str, object]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"'{name}' is not a table")


def _tables(value: object, name: str) -> list[Mapping[str, object]]:
    if isinstance(value, list):
        return [_table(row, name) for row in value]
    raise ValueError(f"'{name}' is not a list of tables")


def _numbers(value: object, name: str) -> tuple[int, ...]:
    if isinstance(value, list) and all(type(number) is int for number in value):
        return tuple(value)
    raise ValueError(f"'{name}' is not a list of numbers")


def _texts(value: object, name: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return tuple(value)
    raise ValueError(f"'{name}' is not a list of texts")


def _plain(value: object) -> dict[str, object]:
    """Enums and tuples as TOML knows them; session ids and agents are texts already."""
    assert isinstance(value, dict)
    return {key: _plain_value(item) for key, item in value.items()}


def _plain_value(value: object) -> object:
    if isinstance(value, dict):
        return _plain(value)
    if isinstance(value, tuple | list | frozenset):
        return [_plain_value(item) for item in value]
    return str(value) if isinstance(value, str) else value
