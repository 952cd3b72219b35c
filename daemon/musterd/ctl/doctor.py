"""`doctor`: looks for what is wrong, one check after the other, and says what to do about each."""

import asyncio
import shutil
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from functools import partial

from musterd import __version__
from musterd.bus.names import MANAGER, REAPER, STOP_GATE
from musterd.core.errors import reason

from . import doctor_hooks, hooks, sessions
from .again import program
from .client import Client, Properties, Where, connect, gather, plain
from .failure import CtlError, Exit
from .finding import Finding, Grade
from .style import Style, paint
from .text import printable

CHECK_TIMEOUT = 10.0  # seconds for a program that we ask

STOPS = 20  # rows of the history of the stop gate: one of them is its last judgement, most likely the first
UNKNOWN = {"facts", "late", "failed"}  # its rules that let go of who might have been held


MARKS = {Grade.OK: ("✓", Style.GREEN), Grade.NOTE: ("-", Style.BLUE), Grade.WRONG: ("✗", Style.RED)}


async def run(where: Where, args: Namespace) -> int:
    findings = [finding async for finding in examine(where)]
    if "json" in args:
        rows = [
            {"Check": f.check, "Grade": f.grade.value, "Text": f.text, "Advice": f.advice} for f in findings
        ]
        print(sessions.as_json(rows))
    else:
        for finding in findings:
            _show(finding)
    return Exit.FAILED if any(f.grade is Grade.WRONG for f in findings) else Exit.DONE


def _show(finding: Finding) -> None:
    mark, style = MARKS[finding.grade]
    print(f"{paint(mark, style)} {finding.check}: {printable(finding.text)}")
    if finding.advice:
        print(f"  -> {printable(finding.advice)}")


async def examine(where: Where) -> AsyncIterator[Finding]:
    hook_timeout = 0  # µs; 0: not known
    try:
        async with connect(where) as client:
            manager = await client.properties(MANAGER)
            for finding in _daemon(manager, where):
                yield finding
            gate = await client.properties(STOP_GATE)
            hook_timeout = gate.get("HookTimeoutUSec", 0)  # not from an older daemon
            for finding in (
                *_pressure(manager["Pressure"]),
                *_reaper(await client.properties(REAPER), where),
                _gate(gate, manager),
            ):
                yield finding
            yield await _warden(client)
            for finding in (*await _stops(client), *await _sessions(client)):
                yield finding
    except CtlError as exc:
        yield Finding("daemon", Grade.WRONG, str(exc), exc.hint)
    if not where.host:  # what is on this machine says nothing of another
        yield await _config(where)
        for finding in doctor_hooks.findings(await hooks.heard(where), hook_timeout):
            yield finding
        for finding in _programs():
            yield finding


def _by(where: Where, command: str) -> str:
    """systemd knows of the system service only."""
    return f": '{command}'" if where.is_service else ""


def _daemon(manager: Properties, where: Where) -> list[Finding]:
    found = [Finding("daemon", Grade.OK, f"musterd {manager['Version']} answers")]
    if manager["Version"] != __version__:
        text = f"the daemon is {manager['Version']}, musterctl is {__version__}"
        found.append(
            Finding("version", Grade.WRONG, text, f"Restart it{_by(where, 'systemctl restart musterd')}.")
        )
    found += [
        Finding("health", Grade.WRONG, trouble, f"Its log says more{_by(where, 'journalctl -u musterd')}.")
        for trouble in manager["HealthReasons"]
    ]
    return found if manager["HealthReasons"] else [*found, Finding("health", Grade.OK, manager["Health"])]


def _pressure(pressure: Properties) -> list[Finding]:
    match pressure.get("Source"):
        case "psi":
            return [Finding("pressure", Grade.OK, f"read from PSI, {pressure.get('Tier')} now")]
        case "psutil":
            text = "the kernel has no PSI: available memory alone decides"
            advice = "Boot with psi=1, or with a kernel that has CONFIG_PSI."
            return [Finding("pressure", Grade.WRONG, text, advice)]
    return [Finding("pressure", Grade.WRONG, "no reading was made yet", "See 'musterctl status'.")]


def _reaper(reaper: Properties, where: Where) -> list[Finding]:
    found = []
    if reaper["AutoDisabled"]:
        advice = "See 'musterctl reaper history'; then 'musterctl reaper mode' arms it again."
        found.append(
            Finding("reaper", Grade.WRONG, f"disarmed itself: {reaper['AutoDisabledReason']}", advice)
        )
    else:
        found.append(Finding("reaper", Grade.OK, f"mode {reaper['Mode']}"))
    if where.address != "system":
        text = "single-user mode: who runs the daemon is its operator, and so is every agent of that user"
        found.append(Finding("operator", Grade.NOTE, text))
    return found


def _gate(gate: Properties, manager: Properties) -> Finding:
    """Whether it could hold anybody now."""
    check, mode = "stop gate", gate["Mode"]
    if obstacle := next((r for r in manager["HealthReasons"] if r.startswith("the stop gate")), ""):
        return Finding(check, Grade.WRONG, f"mode {mode}, but {obstacle}", "Make room for the event log.")
    if gate["KillSwitch"]:
        text = f"mode {mode}, but the kill switch is on: nothing is held"
        return Finding(check, Grade.NOTE, text, "'musterctl gate kill-switch off' ends that.")
    match mode:
        case "enforce":
            return Finding(check, Grade.OK, "mode enforce: it holds owners of unfinished claims")
        case "shadow":
            return Finding(check, Grade.OK, "mode shadow: it could hold, and writes down what it would do")
    return Finding(check, Grade.NOTE, f"mode {mode}: no turn is ever held")


async def _warden(client: Client) -> Finding:
    """Hooks of agents do not say that there is none, and nothing else asks before there are sessions."""
    try:
        await client.manager("GetSessionByPID", "u", 0)
    except CtlError as exc:
        if exc.name != "NoSuchSession":
            advice = "Without it nothing is known of your agents. To have it started, musterd needs polkit."
            return Finding("warden", Grade.WRONG, str(exc), advice)
    return Finding("warden", Grade.OK, "yours can look after your agents")


async def _stops(client: Client) -> list[Finding]:
    """A check that cannot run, or takes too long, lets everybody go, and the agents hear nothing of that."""
    (rows,) = await client.gate("History", "u", STOPS)
    last = next((row for row in map(plain, rows) if "Verdict" in row), None)
    if last is None or UNKNOWN.isdisjoint(str(last["Rules"]).split(", ")):
        return []
    advice = (
        "'musterctl gate history' shows more; [stop-gate] of musterd.toml(5) has the check and its time."
    )
    return [Finding("stop gate", Grade.WRONG, f"at the last stop, {last['Text']}", advice)]


async def _sessions(client: Client) -> list[Finding]:
    found = await sessions.everything(client)
    if not found:
        advice = "Start an agent, or put one on the roll with 'musterctl register'."
        return [Finding("sessions", Grade.NOTE, "there are none", advice)]
    (rows,) = await client.manager("ListEvents", "utts", 1, 0, 0, "")
    log = Finding(
        "events", Grade.OK if rows else Grade.WRONG, "history is kept" if rows else "there is no history"
    )
    reports = await gather([partial(_session, client, session) for session in found])
    return [log, *(finding for report in reports for finding in report)]


async def _session(client: Client, session: Properties) -> Sequence[Finding]:
    name = f"session {session['Id']}"
    found = []
    if session["Agent"] == "other":
        return [Finding(name, Grade.NOTE, "registered by hand, so never reaped")]
    if not session.get("LastHookUSec") and session["StateSource"] not in ("hook", "native"):
        text = f"neither a hook nor a status of {session['Agent']} was heard of"
        advice = "Without them it is never proven idle."
        if session["Agent"] in hooks.HOOKED:
            advice += f" 'musterctl hooks install {session['Agent']}' puts hooks in."
        found.append(Finding(name, Grade.WRONG, text, advice))
    try:
        _, _, gates = await client.reaper("Explain", "s", session["Id"])
    except CtlError as exc:
        return [] if exc.name == "NoSuchSession" else [*found, Finding(name, Grade.WRONG, str(exc))]
    for gate, outcome, _, evidence in gates:
        if gate == "unsupported" and outcome != "pass":
            found.append(Finding(name, Grade.WRONG, f"never reaped: {evidence}"))
    return found or [Finding(name, Grade.OK, f"{session['Agent']}, heard by {session['StateSource']}")]


async def _config(where: Where) -> Finding:
    """The daemon's own parser reads it; which files those are, it knows best."""
    scope = ["--system"] if where.address == "system" else ["--user"]
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            process = await asyncio.create_subprocess_exec(
                *program("musterd.main", *scope, "--check-config"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
    except TimeoutError:
        return Finding("configuration", Grade.WRONG, f"could not be checked within {CHECK_TIMEOUT:g} s")
    except OSError as exc:
        return Finding("configuration", Grade.WRONG, f"could not be checked: {reason(exc)}")
    mistakes = "; ".join(output.decode(errors="replace").splitlines())
    if process.returncode:
        reload = (
            "'systemctl reload musterd'" if where.is_service else "let the daemon read it again (SIGHUP)"
        )
        return Finding("configuration", Grade.WRONG, mistakes, f"Correct it, then {reload}.")
    return Finding("configuration", Grade.OK, "no mistakes")


def _programs() -> list[Finding]:
    """Those that we ask, and what is missing without them."""
    return [
        Finding(name, Grade.OK, "installed")
        if shutil.which(name)
        else Finding(name, Grade.NOTE, f"not installed: {without}")
        for name, without in _PROGRAMS.items()
    ]


_PROGRAMS = {
    "tmux": "screens of sessions cannot be looked at",
    "git": "uncommitted work is not known, so the stop gate holds nobody",
}
