"""Claude Code: written from its public documentation, never run. It is observed, but never held to be idle.

Its own status file names its process with the start time, so it cannot be mistaken; `shell` is not idle.
"""

import json
import re
from collections.abc import Mapping, Sequence

from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Native, NativeState
from musterd.core.session import Agent, Session

from . import image
from .base import UNREADABLE, Adapter, Json, ProcessFacts, Records, Role, ScreenReading
from .fields import integer, ordered, package_version, parse, table, tables, title_of, usec, word
from .flags import Flags
from .hooks import CommandHooks, Installed, Place

PACKAGE = "@anthropic-ai/claude-code"

_HOOKS = {
    "SessionStart": EventKind.SESSION_START,
    "UserPromptSubmit": EventKind.TURN_START,
    "PreToolUse": EventKind.WORK,
    "PostToolUse": EventKind.WORK,
    "PostToolUseFailure": EventKind.WORK,
    "PostToolBatch": EventKind.WORK,
    "PermissionRequest": EventKind.WAITING,
    "Elicitation": EventKind.WAITING,
    "Stop": EventKind.STOP,
    "StopFailure": EventKind.TURN_END,
    "SubagentStart": EventKind.SUBAGENT_START,
    "SubagentStop": EventKind.SUBAGENT_END,
    "PreCompact": EventKind.RECOVERY_START,
    "PostCompact": EventKind.RECOVERY_END,
    "SessionEnd": EventKind.SESSION_END,
}

# `idle_prompt` is only a timer of 60 s.
_ASKING = ("permission_prompt", "elicitation_dialog", "agent_needs_input")

# Parts of its own supervisor, and commands that are over at once.
_NO_SESSION = frozenset(
    ("daemon", "bg-spare", "--bg-pty-host", "--bg-spare", "mcp", "agents", "doctor", "update")
)

_INTERRUPTED = "[Request interrupted by user"
_CUT = "interrupted"
_DIALOG = re.compile(r"^[│ ]*\u276f 1\. ", re.MULTILINE)
_COMPOSER = re.compile(r"^[│ ]*[>\u276f][ \u00a0]+(.*?)[│ ]*$")


_FLAGS = Flags(
    plain=("--dangerously-skip-permissions", "--ide", "--strict-mcp-config", "--verbose"),
    valued=("--agent", "--fallback-model", "--model", "--permission-mode", "--plugin-dir", "--settings"),
    listed=("--add-dir", "--mcp-config"),
    dropped=("--append-system-prompt", "--name", "-n", "--resume", "-r", "--session-id", "--system-prompt"),
)


# Only events that it has had for long: before 2.1.101 one that it does not know makes it skip the whole
# settings file, permissions and all. Its transcript and its status file tell of the rest.
_INSTALLED = CommandHooks(
    Place(".claude", "CLAUDE_CONFIG_DIR"),
    "settings.json",
    ("SessionStart", "UserPromptSubmit", "PostToolUse", "Notification", "Stop", "SessionEnd"),
    limit=5,
)


class Claude(Adapter):
    agent = Agent.CLAUDE_CODE
    comms = ("claude",)
    resume = ("claude", "--resume")
    flags = _FLAGS
    hooks = _INSTALLED
    doubted_by = ("settings.json",)
    marks = ("CLAUDE_CODE_SESSION_ID", "CLAUDE_PID")
    opens = (".claude/settings.json", ".claude.json")
    environ = ("CLAUDE_CONFIG_DIR",)

    def unsupported(self, version: str) -> str:
        return "the adapter for Claude Code has not been proven with the program itself yet"

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        """The native program is one file a version, `claude/versions/2.1.0`; npm's names itself `claude`."""
        if image.subcommand(process, _NO_SESSION):
            return None
        if parent and parent.executable == process.executable and not image.runs_script(process):
            return None  # it runs itself as a helper
        is_native = "/claude/versions/" in process.executable or image.name(process.executable) == "claude"
        is_npm = image.runs(process, "claude", (PACKAGE,))
        is_titled = image.runs_script(process) and image.has_title(process, "claude")
        return Role.LEADER if is_native or is_npm or is_titled else None

    def package_files(self, process: ProcessFacts) -> tuple[str, ...]:
        return image.package_json(image.script(process), PACKAGE)

    def version(self, text: str) -> str:
        return package_version(text, (PACKAGE,))

    def is_helper(self, process: ProcessFacts) -> bool:
        return image.is_furniture(process)

    def hook_event(self, event: str, payload: Json, at: int) -> AgentEvent:
        """The fields of its hooks' standard input. A SubagentStop is never its parent's."""
        kind = _HOOKS.get(event, EventKind.NOTE)
        if event == "Notification" and word(payload, "notification_type") in _ASKING:
            kind = EventKind.WAITING
        return AgentEvent(
            kind,
            at,
            agent_session_id=word(payload, "session_id"),
            subagent=word(payload, "agent_id"),
            turn_id=word(payload, "prompt_id"),
            pending=_pending(payload) if event == "Stop" else None,
            transcript=word(payload, "transcript_path"),
            cwd=word(payload, "cwd"),
            detail=word(payload, "tool_name") or word(payload, "source") or word(payload, "reason"),
            is_cut=event == "StopFailure",
        )

    def hooks_doubt(self, hooks: Sequence[Installed], file: str, settings: Mapping[str, Json]) -> str:
        is_off = table(settings, "settings.json").get("disableAllHooks") is True
        return "hooks are off: 'disableAllHooks'" if is_off else ""

    def block(self, event: str, reason: str) -> str:
        return json.dumps({"decision": "block", "reason": reason})

    def records(self, lines: Sequence[str]) -> Records:
        records, is_complete = parse(lines)
        return Records(tuple(filter(None, map(_record, records))), is_complete)

    def status_file(self, session: Session, home: str, environ: Mapping[str, str]) -> str:
        base = environ.get("CLAUDE_CONFIG_DIR") or f"{home}/.claude"
        return f"{base}/sessions/{session.leader.pid}.json" if session.leader else ""

    def status(self, text: str, process: ProcessFacts) -> Native:
        """`sessions/PID.json`. It may outlive its process: pid and start time (in ticks) must agree."""
        status = json.loads(text)
        if not isinstance(status, dict):
            raise ValueError(f"{text[:40]!r} is no status")
        if integer(status, "pid") != process.pid or word(status, "procStart") != str(process.start_ticks):
            raise ValueError("the status is of another process")
        if word(status, "kind") != "interactive":
            raise ValueError(f"a session of the kind {word(status, 'kind')!r} belongs to its own supervisor")
        at = integer(status, "statusUpdatedAt") * 1000 or usec(word(status, "statusUpdatedAt"))
        return Native(NativeState(word(status, "status")), word(status, "sessionId"), at)

    def screen(self, text: str) -> ScreenReading:
        if _DIALOG.search(text):
            return ScreenReading(has_dialog=True, has_draft=False)
        composers = [found.group(1) for line in text.splitlines() if (found := _COMPOSER.match(line))]
        if not composers:
            return UNREADABLE
        return ScreenReading(has_dialog=False, has_draft=bool(composers[-1].strip()))


def _pending(payload: Json) -> tuple[str, ...]:
    tasks = [*tables(payload, "background_tasks"), *tables(payload, "session_crons")]
    return tuple(word(t, "description") or word(t, "command") or word(t, "id") or "a task" for t in tasks)


def _record(record: Json) -> AgentEvent | None:
    at, message = usec(word(record, "timestamp")), table(record, "message")
    kind, detail = _meaning(record, message)
    if kind is EventKind.NOTE:
        return None
    subagent = (word(record, "agentId") or "sidechain") if record.get("isSidechain") is True else ""
    return AgentEvent(
        kind,
        ordered(kind, at),
        word(record, "sessionId"),
        subagent,
        cwd=word(record, "cwd"),
        version=word(record, "version"),
        detail=detail,
        is_cut=detail == _CUT,
    )


def _meaning(record: Json, message: Json) -> tuple[EventKind, str]:
    match word(record, "type"):
        case "assistant":
            reason = word(message, "stop_reason")
            ends = reason in ("end_turn", "stop_sequence", "max_tokens", "refusal")
            return (EventKind.TURN_END if ends else EventKind.WORK), reason
        case "user" if _INTERRUPTED in _text(message):
            return EventKind.TURN_END, _CUT
        case "user" if record.get("isMeta") is not True and _text(message):
            return EventKind.TURN_START, ""
        case "user":
            return EventKind.WORK, ""
        case _:
            return EventKind.NOTE, ""


def _text(message: Json) -> str:
    parts = [word(part, "text") for part in tables(message, "content")]
    return title_of(word(message, "content") or " ".join(parts))
