"""Who may do what: one table of all members, asked on every stage where users are to be had.

A row is what a user asks of another user's things (or of their own): the `Subject`. Columns are who asks.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from helpers.asker import Asker, variant
from helpers.daemon import NAME, ROOT
from musterd.bus.contract import Contract
from musterd.bus.names import LOG_CONTROL, LOG_CONTROL_PATH, session_path
from musterd.ports import Action

CONTRACT = Contract.load()
STANDARD = "org.freedesktop.DBus"
GET, GET_ALL, SET = (f"{STANDARD}.Properties.{member}" for member in ("Get", "GetAll", "Set"))
INTROSPECT = f"{STANDARD}.Introspectable.Introspect"
MANAGED_OBJECTS = f"{STANDARD}.ObjectManager.GetManagedObjects"

# What comes of a call
ALLOWED = ""
SHOWN, HIDDEN = "shown", "hidden"  # whether the answer, which everybody gets, has the subject in it
ACCESS_DENIED = f"{NAME}.Error.AccessDenied"
NOT_AUTHORIZED = f"{NAME}.Error.NotAuthorized"
NO_SUCH_SESSION = f"{NAME}.Error.NoSuchSession"
NOT_RESUMABLE = f"{NAME}.Error.NotResumable"
DENIED_BY_THE_BUS = f"{STANDARD}.Error.AccessDenied"
READ_ONLY = f"{STANDARD}.Error.PropertyReadOnly"
PASSWORD_REQUIRED = f"{STANDARD}.Error.InteractiveAuthorizationRequired"


class Right(StrEnum):
    ANYONE = "anyone"
    MANAGE = "whose it is, whom polkit lets manage others' sessions, root"
    SEE = "whose it is, root"
    OWN = "whose it is"  # root, too, has its warden for its own processes only
    OPERATE = "whom polkit lets set modes, root"
    ROOT = "root"
    NOBODY = "nobody"


REFUSALS = {
    Right.MANAGE: ACCESS_DENIED,
    Right.SEE: HIDDEN,
    Right.OWN: ACCESS_DENIED,
    Right.OPERATE: NOT_AUTHORIZED,
    Right.ROOT: DENIED_BY_THE_BUS,
    Right.NOBODY: ACCESS_DENIED,
}
ASKED_OF_POLKIT = {Right.MANAGE: Action.MANAGE_OTHERS, Right.OPERATE: Action.SET_MODE}


@dataclass(frozen=True, slots=True)
class Subject:
    """Things of one user that others ask about: a session of a process, and what has to do with it."""

    session: str
    pid: int
    conversation: str
    remote: str  # a session on another host
    ended: str  # one that has ended
    claim: str
    hold: str  # the reason of an inhibitor

    @property
    def path(self) -> str:
        return session_path(self.session)

    @property
    def node(self) -> str:
        return self.path.rpartition("/")[2]


NOTHING = Subject("", 0, "", "", "", "", "")


@dataclass(frozen=True, slots=True)
class Row:
    member: str  # interface and name; without what all of our names begin with
    right: Right
    args: Callable[[Subject], Sequence[object]] = lambda _: ()
    path: Callable[[Subject], str] = lambda _: ROOT
    allowed: str = ALLOWED  # what comes of it for who may
    refused: str = ""  # ... and for who may not, if not what REFUSALS say
    shows: Callable[[Subject], str] | None = None  # what an answer has in it that shows the subject
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.member} {self.note}".strip()

    @property
    def full_name(self) -> str:
        return self.member if self.member.startswith("org.") else f"{NAME}.{self.member}"

    def question(self, subject: Subject, *, interactive: bool) -> list[object]:
        interface, _, member = self.full_name.rpartition(".")
        signature = CONTRACT.interfaces[interface].methods[member].in_signature
        return [self.path(subject), interface, member, signature, list(self.args(subject)), interactive]

    def outcome(self, subject: Subject, answer: Sequence[Any]) -> str:
        error, values = answer
        if error or self.shows is None:
            return str(error)
        return SHOWN if f'"{self.shows(subject)}' in json.dumps(values).replace('\\"', '"') else HIDDEN


@dataclass(frozen=True, slots=True)
class Column:
    """Who asks about the subject: whose user, owning it or not, with what polkit grants."""

    user: str
    is_owner: bool = False
    granted: Sequence[str] = ()
    helps_a_password: bool = True  # polkit asks for one; else it says no

    @property
    def is_root(self) -> bool:
        return self.user == "root"

    def has(self, right: Right) -> bool:
        match right:
            case Right.MANAGE:
                return self.is_owner or self.is_root or Action.MANAGE_OTHERS in self.granted
            case Right.SEE:
                return self.is_owner or self.is_root
            case Right.OWN:
                return self.is_owner
            case Right.OPERATE:
                return self.is_root or Action.SET_MODE in self.granted
            case Right.ROOT:
                return self.is_root
        return right is Right.ANYONE

    def expected(self, row: Row, *, interactive: bool) -> str:
        if self.has(row.right):
            return row.allowed
        if row.refused:
            return row.refused
        if row.right in ASKED_OF_POLKIT and self.helps_a_password and not interactive:
            return PASSWORD_REQUIRED
        return REFUSALS[row.right]


def listing(
    member: str,
    shows: Callable[[Subject], str],
    args: Callable[[Subject], Sequence[object]] = lambda _: (),
    path: Callable[[Subject], str] = lambda _: ROOT,
    note: str = "",
) -> Row:
    """What answers everybody, each with what they may see."""
    return Row(member, Right.SEE, args, path, shows=shows, allowed=SHOWN, note=note)


# In this order: who asks registers first, and the last ones end what is asked about.
ASKS = (
    Row("Manager.RegisterSession", Right.ANYONE, lambda _: [{"agent": variant("s", "codex")}], note="own"),
    Row("Manager.RegisterSession", Right.OWN, lambda it: [{"pid": variant("u", it.pid)}]),
    Row("Manager.ReportEvent", Right.ANYONE, lambda _: ["codex", "turn-start", "{}"]),
    Row("Manager.GetSessionByPID", Right.ANYONE, lambda _: [0], note="own"),
    Row("Manager.GetSessionByPID", Right.MANAGE, lambda it: [it.pid]),
    Row("Manager.GetSession", Right.MANAGE, lambda it: [it.session]),
    Row(
        "Manager.GetSessionByAgentSession",
        Right.SEE,
        lambda it: ["other", it.conversation],
        refused=NO_SUCH_SESSION,
    ),
    Row("Manager.Heartbeat", Right.MANAGE, lambda it: [it.remote]),
    Row("Manager.Inhibit", Right.MANAGE, lambda it: ["reap:stop", "test", "why", "block", it.session]),
    Row("Manager.Inhibit", Right.ANYONE, lambda _: ["reap:stop", "test", "why", "block", ""], note="own"),
    Row("Manager.SetProtected", Right.MANAGE, lambda it: [it.session, True], note="on"),
    Row("Manager.SetProtected", Right.MANAGE, lambda it: [it.session, False], note="off"),
    listing("Manager.ListSessions", lambda it: it.session),
    listing("Manager.ListSessionsPage", lambda it: it.session, lambda _: [0, 0]),
    listing("Manager.ListEndedSessions", lambda it: it.ended, lambda _: [0, 0]),
    listing("Manager.ListInhibitors", lambda it: it.hold),
    listing("Manager.ListEvents", lambda it: it.session, lambda _: [0, 0, 0, ""]),
    listing("Manager.ListEvents", lambda it: it.session, lambda it: [0, 0, 0, it.session], note="session"),
    Row("Reaper.Explain", Right.MANAGE, lambda it: [it.session]),
    listing("Reaper.ListVerdicts", lambda it: it.session),
    Row("Reaper.History", Right.ANYONE, lambda _: [0]),  # no reap is about the subject
    Row("Reaper.SetMode", Right.OPERATE, lambda _: ["dry-run", "test"]),
    Row("StopGate.SetMode", Right.OPERATE, lambda _: ["shadow", "test"]),
    Row("StopGate.SetKillSwitch", Right.OPERATE, lambda _: [False, "test"]),
    Row("StopGate.Claim", Right.ANYONE, lambda _: [{"task": variant("s", "own")}], note="own"),
    Row(
        "StopGate.Claim",
        Right.MANAGE,
        lambda it: [{"task": variant("s", "more"), "session": variant("s", it.session)}],
    ),
    Row("StopGate.UpdateClaim", Right.MANAGE, lambda it: [it.claim, {"phase": variant("s", "done")}]),
    listing("StopGate.ListClaims", lambda it: it.claim),
    listing("StopGate.History", lambda it: it.session, lambda _: [0]),
    Row("StopGate.ReleaseClaim", Right.MANAGE, lambda it: [it.claim]),
    Row("Wardens.Attach", Right.NOBODY),
    Row("org.freedesktop.DBus.Peer.Ping", Right.ANYONE),
    Row("org.freedesktop.DBus.Peer.GetMachineId", Right.ANYONE),
    Row(INTROSPECT, Right.MANAGE, path=lambda it: it.path),
    Row(INTROSPECT, Right.ANYONE, note="root"),
    listing(INTROSPECT, lambda it: it.node, path=lambda _: f"{ROOT}/session", note="sessions"),
    listing(MANAGED_OBJECTS, lambda it: it.path),
)
ENDS = (
    Row("Manager.TerminateSession", Right.MANAGE, lambda it: [it.session, "enough"]),
    Row("Manager.ResumeSession", Right.MANAGE, lambda it: [it.ended], allowed=NOT_RESUMABLE),
    Row("Manager.ResumeSessionAnyway", Right.MANAGE, lambda it: [it.ended], allowed=NOT_RESUMABLE),
    Row("Manager.ReleaseSession", Right.MANAGE, lambda it: [it.session]),
)

# Where the properties are, who may read them all, and what the writable ones may be set to.
PROPERTIES: Mapping[str, tuple[Callable[[Subject], str], Right]] = {
    f"{NAME}.Manager": (lambda _: ROOT, Right.ANYONE),
    f"{NAME}.Reaper": (lambda _: ROOT, Right.ANYONE),
    f"{NAME}.StopGate": (lambda _: ROOT, Right.ANYONE),
    f"{NAME}.Session": (lambda it: it.path, Right.MANAGE),
    LOG_CONTROL: (lambda _: LOG_CONTROL_PATH, Right.ANYONE),
}
SAMPLES: Mapping[str, object] = {"s": "", "u": 0, "t": 0, "b": True, "as": [], "a{sv}": {}}
WRITABLE = {
    f"{LOG_CONTROL}.LogLevel": variant("s", "info"),
    f"{LOG_CONTROL}.LogTarget": variant("s", "auto"),
}


def properties() -> Iterator[Row]:
    for interface, (path, right) in PROPERTIES.items():
        yield Row(GET_ALL, right, _naming(interface), path, note=interface)
        for name, prop in CONTRACT.interfaces[interface].properties.items():
            full = f"{interface}.{name}"
            yield Row(GET, right, _naming(interface, name), path, note=full)
            value = WRITABLE.get(full, variant(prop.signature, SAMPLES[prop.signature]))
            result = ALLOWED if full in WRITABLE else READ_ONLY
            yield Row(SET, Right.ROOT, _naming(interface, name, value), path, allowed=result, note=full)


def _naming(*args: object) -> Callable[[Subject], Sequence[object]]:
    return lambda _: args


ROWS = (*ASKS, *properties(), *ENDS)


async def own(owner: Asker) -> Subject:
    """What is asked about, made anew by a user of its own."""
    pid = await owner.start_child()
    conversation, hold = f"conversation-{pid}", f"hold-{pid}"
    spec = {"pid": variant("u", pid), "agent-session-id": variant("s", conversation)}
    session, _ = await call(owner, "Manager.RegisterSession", spec)
    await call(owner, "Manager.Inhibit", "reap", "test", hold, "block", session)
    far = {"host": variant("s", "far"), "cwd": variant("s", f"/{pid}")}
    remote, _ = await call(owner, "Manager.RegisterSession", far)
    [claim] = await call(
        owner, "StopGate.Claim", {"task": variant("s", "it"), "session": variant("s", session)}
    )
    ended, _ = await call(owner, "Manager.RegisterSession", {"pid": variant("u", await owner.start_child())})
    await call(owner, "Manager.TerminateSession", ended, "enough")
    return Subject(session, pid, conversation, remote, ended, claim, hold)


async def call(who: Asker, member: str, *args: object) -> list[Any]:
    """What has to be answered."""
    row = Row(member, Right.ANYONE, lambda _: args)
    [(error, values)] = await who.ask(row.question(NOTHING, interactive=False))
    assert not error, (member, error, values)
    return list(values)


async def outcomes(who: Asker, subject: Subject, *, interactive: bool) -> dict[str, str]:
    """What comes of each row."""
    answers = await who.ask(*(row.question(subject, interactive=interactive) for row in ROWS))
    return {row.name: row.outcome(subject, answer) for row, answer in zip(ROWS, answers, strict=True)}
