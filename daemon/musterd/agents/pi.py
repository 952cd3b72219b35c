"""pi: checked with 1.5.2 (and 0.73.1, which cannot prove that it is idle).

Its extension (see `hook_event`) hands on what happens inside. `agent_settled` is final; `agent_end` is not:
queued messages, retries and other extensions may follow it.
"""

import json
from collections.abc import Sequence

from musterd.core.event import AgentEvent, EventKind
from musterd.core.session import Agent

from . import image
from .base import UNREADABLE, Adapter, Json, ProcessFacts, Records, Role, ScreenReading
from .fields import integer, ordered, package_version, parse, table, title_of, usec, word
from .flags import Flags
from .hooks import Extension, Place

PACKAGES = ("@earendil-works/pi-coding-agent", "@mariozechner/pi-coding-agent")

_HOOKS = {
    "session_start": EventKind.SESSION_START,
    "agent_start": EventKind.TURN_START,
    "turn_start": EventKind.WORK,
    "turn_end": EventKind.WORK,
    "tool_execution_start": EventKind.WORK,
    "tool_execution_end": EventKind.WORK,
    "agent_end": EventKind.TURN_END,
    "agent_before_settle": EventKind.STOP,
    "agent_settled": EventKind.SETTLED,
    "ui_prompt_start": EventKind.WAITING,
    "ui_prompt_end": EventKind.ANSWERED,
    "session_before_compact": EventKind.RECOVERY_START,
    "session_compact": EventKind.RECOVERY_END,
    "session_compact_failed": EventKind.RECOVERY_END,
    "session_shutdown": EventKind.SESSION_END,
}

# What an assistant message says about its turn: `toolUse` goes on, these end it unless something is queued.
_STOPS = ("stop", "length", "aborted", "error")
_CUT = ("aborted", "error")


# Its arguments are gone once it has named itself: these are there only if whoever registered it told them.
_FLAGS = Flags(
    plain=(
        "--approve", "-a", "--no-approve", "-na", "--no-builtin-tools", "-nbt", "--no-context-files", "-nc",
        "--no-extensions", "-ne", "--no-mcp", "--no-tools", "-nt", "--offline", "--verbose",
    ),
    valued=(
        "--exclude-tools", "-xt", "--extension", "-e", "--model", "--models", "--provider", "--session-dir",
        "--skill", "--theme", "--thinking", "--tools", "-t", "--tui-mode", "--use-theme",
    ),
    dropped=(
        "--api-key", "--append-system-prompt", "--fork", "--mode", "--name", "-n", "--prompt-template",
        "--session", "--session-id", "--system-prompt",
    ),
)  # fmt: skip


class Pi(Adapter):
    agent = Agent.PI
    comms = ("pi",)
    resume = ("pi", "--session")
    flags = _FLAGS
    hooks = Extension(Place(".pi/agent", "PI_CODING_AGENT_DIR"), "extensions/musterd.ts", "pi.ts")
    marks = ("PI_SESSION_ID",)
    versions = ((1, 5), (1, 5))
    leaves_on = "SIGUSR2"  # its extension listens, looks once more, and shuts it down
    opens = (".pi/agent/settings.json",)
    environ = ("_",)  # the path that a shell started it by

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        """A runtime that named itself `pi` (process.title) or, in its first moments, has pi's script."""
        if not image.runs_script(process):
            return None
        if image.has_title(process, "pi") or image.runs(process, "pi", PACKAGES):
            return Role.LEADER
        return None

    def package_files(self, process: ProcessFacts) -> tuple[str, ...]:
        path = image.script(process) or process.environ.get("_", "")
        return tuple(file for name in PACKAGES for file in image.package_json(path, name))

    def version(self, text: str) -> str:
        return package_version(text, PACKAGES)

    def is_helper(self, process: ProcessFacts) -> bool:
        return image.is_furniture(process)

    def hook_event(self, event: str, payload: Json, at: int) -> AgentEvent:
        """What its extension sends: `session_id`, `session_file`, `cwd`, `version`, `time` (ms), the event's
        own fields, and `is_idle` and `has_pending_messages` as its context answers them."""
        kind = _HOOKS.get(event, EventKind.NOTE)
        has_pending = payload.get("has_pending_messages") is True
        if kind is EventKind.SETTLED and (payload.get("is_idle") is False or has_pending):
            kind = EventKind.TURN_END
        if kind is EventKind.SESSION_END and word(payload, "reason") == "reload":
            kind = EventKind.NOTE  # it goes on with the same conversation
        return AgentEvent(
            kind,
            _stamp(payload, kind) or at,
            agent_session_id=word(payload, "session_id"),
            pending=(("a queued message",) if has_pending else ()) if event == "agent_settled" else None,
            transcript=word(payload, "session_file"),
            cwd=word(payload, "cwd"),
            version=word(payload, "version"),
            detail=word(payload, "toolName") or word(payload, "reason"),
            is_cut=payload.get("aborted") is True or word(payload, "outcome") in _CUT,
        )

    def block(self, event: str, reason: str) -> str:
        """For its extension to read."""
        return json.dumps({"decision": "block", "reason": reason})

    def records(self, lines: Sequence[str]) -> Records:
        """Session format 3: a tree of entries, one a line, each stamped when it was written."""
        records, is_complete = parse(lines)
        return Records(tuple(filter(None, map(_entry, records))), is_complete)

    def screen(self, text: str) -> ScreenReading:
        """The composer stands between the last two rules; a dialog has a line of keys below its choices."""
        lines = text.splitlines()
        rules = [row for row, line in enumerate(lines) if _is_rule(line)]
        if len(rules) < 2:
            return UNREADABLE
        between = lines[rules[-2] + 1 : rules[-1]]
        has_dialog = any("navigate" in line or "enter select" in line for line in between)
        return ScreenReading(has_dialog, has_draft=not has_dialog and any(map(str.strip, between)))


def _stamp(payload: Json, kind: EventKind) -> int:
    time = integer(payload, "time") * 1000
    return ordered(kind, time) if time else 0


def _entry(record: Json) -> AgentEvent | None:
    at = usec(word(record, "timestamp"))
    match word(record, "type"):
        case "session":
            return AgentEvent(EventKind.NOTE, at, word(record, "id"), cwd=word(record, "cwd"))
        case "session_info":
            return AgentEvent(EventKind.NOTE, at, title=title_of(word(record, "name")))
        case "message":
            kind, detail = _message(table(record, "message"))
            return AgentEvent(kind, ordered(kind, at), detail=detail, is_cut=detail in _CUT)
        case _:
            return None


def _message(message: Json) -> tuple[EventKind, str]:
    match word(message, "role"):
        case "user":
            return EventKind.TURN_START, ""
        case "assistant":
            reason = word(message, "stopReason")
            return (EventKind.TURN_END if reason in _STOPS else EventKind.WORK), reason
        case "toolResult":
            return EventKind.WORK, word(message, "toolName")
        case _:
            return EventKind.NOTE, ""


def _is_rule(line: str) -> bool:
    return line.startswith("──") and line.rstrip().endswith("──────")
