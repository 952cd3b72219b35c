"""`status`: how the daemon does, or all about one session. `pressure`, too, is told here."""

import time
from argparse import Namespace
from collections.abc import Sequence

from musterd.bus.names import MANAGER, REAPER, SESSION, STOP_GATE

from . import claims, sessions, table
from .claims import Claim
from .client import Client, Properties
from .gate import line as gate_line
from .style import STATES, TIERS, Style, paint
from .text import moment, printable, size, span, user_name

Line = tuple[str, str]  # a label, and what it says, escaped already


async def run(client: Client, args: Namespace) -> None:
    if args.id:
        await _session(client, args)
    else:
        await _daemon(client, args)


async def _daemon(client: Client, args: Namespace) -> None:
    manager = await client.properties(MANAGER)
    reaper = await client.properties(REAPER)
    gate = await client.properties(STOP_GATE)
    (inhibitors,) = await client.manager("ListInhibitors")
    found = await sessions.everything(client)
    if "json" in args:
        rows = [dict(zip(_INHIBITOR, row, strict=True)) for row in inhibitors]
        states = sessions.counts(found)
        parts = {"Reaper": reaper, "StopGate": gate, "Inhibitors": rows, "States": states}
        print(sessions.as_json({**manager, **parts}))
        return
    now = time.time_ns() // 1000
    is_ok = manager["Health"] == "ok"
    dot = paint("●", Style.GREEN if is_ok else Style.RED)
    lines = [
        f"{dot} musterd {printable(manager['Version'])}",
        *_columns(_daemon_lines(manager, reaper, gate, found, now)),
    ]
    lines += _inhibitors(inhibitors)
    table.show(lines, pager="no_pager" not in args)


_INHIBITOR = ("What", "Who", "Why", "Mode", "UID", "PID", "Session")


def _daemon_lines(
    manager: Properties, reaper: Properties, gate: Properties, found: list[Properties], now: int
) -> list[Line]:
    states = ", ".join(f"{count} {printable(state)}" for state, count in sessions.counts(found).items())
    memory = sum(session["Memory"] for session in found)
    hidden = manager["NCurrentSessions"] - len(found)
    others = f", {hidden} of other users" if hidden > 0 else ""
    return [
        ("Health", printable(manager["Health"])),
        *(("", f"- {printable(reason)}") for reason in manager["HealthReasons"]),
        ("Sessions", f"{len(found)} ({states}){others}, {size(memory)}" if found else f"none{others}"),
        *pressure_lines(manager["Pressure"], now),
        ("Reaper", reaper_line(reaper)),
        ("Stop gate", gate_line(gate)),
        ("Last look", moment(reaper["LastEvaluationUSec"], now) or "none yet"),
        ("Inhibitors", str(manager["NInhibitors"])),
    ]


def reaper_line(reaper: Properties) -> str:
    spent = f"{reaper['ReapsLastHour']} of {reaper['BudgetPerHour']} reaps in the past hour"
    if reaper["AutoDisabled"]:
        return paint(f"disarmed itself ({printable(reaper['AutoDisabledReason'])}), {spent}", Style.RED)
    return f"{printable(reaper['Mode'])}, {spent}"


def pressure_lines(pressure: Properties, now: int) -> list[Line]:
    """The tier, since when, and the numbers behind it. Keys of a later daemon are passed over."""
    tier = str(pressure.get("Tier", "unknown"))
    since = moment(pressure.get("SinceUSec", 0), now)
    painted = paint(printable(tier), TIERS.get(tier, Style.NONE))
    source = printable(str(pressure.get("Source", "none")))
    if source == "none":
        return [("Pressure", f"{painted}, nothing read yet")]
    available, total = pressure.get("Available", 0), pressure.get("Total", 0)
    share = f" ({100 * available / total:.0f} %)" if total else ""
    stalls = f"some {pressure.get('SomeAvg10', 0.0):.1f} %, full {pressure.get('FullAvg10', 0.0):.1f} %, "
    room = f"{size(available)} of {size(total)} available{share}, by {source}"
    tier_line = f"{painted} since {since}" if since else painted
    return [("Pressure", tier_line), ("", f"{stalls if source == 'psi' else ''}{room}")]


def _inhibitors(inhibitors: Sequence[Sequence[str | int]]) -> list[str]:
    if not inhibitors:
        return []
    columns = [table.Column(name) for name in ("WHAT", "MODE", "USER", "PID", "SESSION", "WHO")]
    columns.append(table.Column("WHY", flexible=True))
    rows = [
        [str(what), str(mode), user_name(int(uid)), str(pid), str(session) or "all", str(who), str(why)]
        for what, who, why, mode, uid, pid, session in inhibitors
    ]
    return ["", *table.layout(columns, rows, legend=True, room=table.room())]


async def _session(client: Client, args: Namespace) -> None:
    _, path = await sessions.resolve(client, args.id)
    session = await client.properties(SESSION, path)
    if "json" in args:
        print(sessions.as_json(session))
        return
    now = time.time_ns() // 1000
    owned = await claims.listed(client, session["Id"])
    state = session["State"]
    title = f" - {printable(session['Title'])}" if session["Title"] else ""
    head = f"{paint('●', STATES.get(state, Style.NONE))} {printable(session['Id'])}{title}"
    table.show([head, *_columns(_session_lines(session, owned, now))], pager="no_pager" not in args)


def _session_lines(session: Properties, owned: Sequence[Claim], now: int) -> list[Line]:
    state = paint(printable(session["State"]), STATES.get(session["State"], Style.NONE))
    source = printable(session["StateSource"])
    lines = [
        ("Agent", printable(session["Agent"])),
        ("User", f"{user_name(session['UID'])} ({session['UID']})"),
        ("State", f"{state} since {moment(sessions.since(session), now)}, says {source}"),
        ("Ended", _ended(session, now)),
        ("On the roll", moment(session["CreatedUSec"], now)),
        ("Last heard", moment(session["LastActivityUSec"], now)),
        ("Leader", str(session["Leader"] or "")),
        ("Tasks", str(session["Tasks"] or "")),
        ("Memory", size(session["Memory"]) if session["Memory"] else ""),
        ("CPU", span(session["CPUUSec"]) if session["CPUUSec"] else ""),
        ("Scope", printable(session["Scope"])),
        ("Terminal", printable(session["Terminal"])),
        ("Directory", printable(session["CWD"])),
        ("Conversation", printable(session["AgentSessionId"])),
        ("Transcript", printable(session["Transcript"])),
        ("Resume", _resume(session)),
        ("Pinned", "yes" if session["Protected"] else ""),
        ("Verdict", printable(sessions.verdict(session))),
        *_claim_lines(owned, now),
        ("Last error", paint(printable(session["LastError"]), Style.RED) if session["LastError"] else ""),
    ]
    return [line for line in lines if line[1]]


def _claim_lines(owned: Sequence[Claim], now: int) -> list[Line]:
    """Those that are done or abandoned come last."""
    lines = []
    for claim in sorted(owned, key=lambda claim: not claim.is_active):
        until = f", until {moment(claim.deadline, now)}" if claim.deadline else ""
        held = f"{printable(claim.phase)}, held {claim.holds} times{until}"
        lines.append(f"{printable(claim.id)}: {printable(claim.task)} ({held})")
    return [("Claims" if number == 0 else "", text) for number, text in enumerate(lines)]


def _ended(session: Properties, now: int) -> str:
    if not session["EndedUSec"]:
        return ""
    return f"{printable(session['EndedReason'])}, {moment(session['EndedUSec'], now)}"


def _resume(session: Properties) -> str:
    import shlex

    return printable(shlex.join(session["ResumeCommand"])) if session["Resumable"] else "not possible"


def _columns(lines: Sequence[Line]) -> list[str]:
    """Labels to the right, as systemctl has them."""
    widest = max(len(label) for label, _ in lines)
    return [
        f"  {label:>{widest}}: {text}" if label else f"  {'':>{widest}}  {text}" for label, text in lines
    ]
