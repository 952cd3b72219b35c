"""Gemini CLI: checked with 0.61.0.

Only its hook `AfterAgent` proves that a turn was completed: the transcript writes a text that comes with a
tool call as if it were the answer. Only the transcript tells that a turn was interrupted: no hook does.
"""

import json
import re
from collections.abc import Mapping, Sequence

from musterd.core.event import AgentEvent, EventKind
from musterd.core.session import Agent, Session

from . import image
from .base import UNREADABLE, Adapter, Json, ProcessFacts, Query, Records, Role, ScreenReading
from .fields import ordered, package_version, parse, table, tables, usec, word
from .flags import Flags
from .hooks import CommandHooks, Installed, Place

PACKAGE = "@google/gemini-cli"

_HOOKS = {
    "SessionStart": EventKind.SESSION_START,
    "BeforeAgent": EventKind.TURN_START,
    "BeforeModel": EventKind.WORK,
    "AfterModel": EventKind.WORK,
    "BeforeToolSelection": EventKind.WORK,
    "BeforeTool": EventKind.WORK,
    "AfterTool": EventKind.WORK,
    "AfterAgent": EventKind.STOP,
    "SessionEnd": EventKind.SESSION_END,
    # PreCompress tells nothing: it comes in every turn, and no hook tells of its end.
}

_DIALOG = re.compile(r"^[│ ]*● 1\. ", re.MULTILINE)
_COMPOSER = re.compile(r"^ [>*!](| .*)((?:\n.*\S.*)*)$", re.MULTILINE)  # down to a blank line


_FLAGS = Flags(
    plain=("--debug", "-d", "--sandbox", "-s", "--screen-reader", "--skip-trust", "--yolo", "-y"),
    valued=(
        "--allowed-mcp-server-names", "--approval-mode", "--extensions", "-e", "--include-directories",
        "--model", "-m", "--policy",
    ),
    dropped=(
        "--prompt", "-p", "--prompt-interactive", "-i", "--resume", "-r", "--session-id", "--session-file",
    ),
)  # fmt: skip


# Its transcript is too weak to tell of tools, so it is asked about them, too.
_INSTALLED = CommandHooks(
    Place(".gemini", "GEMINI_CLI_HOME", ".gemini"),
    "settings.json",
    (
        "SessionStart", "BeforeAgent", "BeforeTool", "AfterTool", "Notification", "AfterAgent", "SessionEnd",
    ),
    limit=5,
    units=1000,
    # It takes every exit status but 0 and 1 for a "no", also that of a shell that finds no program: without
    # this, who uninstalls musterd, but not its hooks, could not prompt any more.
    otherwise="{}",
)  # fmt: skip


class Gemini(Adapter):
    agent = Agent.GEMINI
    comms = ("gemini",)
    resume = ("gemini", "--resume")
    flags = _FLAGS
    hooks = _INSTALLED
    doubted_by = ("settings.json",)
    versions = ((0, 61), (0, 61))
    opens = (".gemini/settings.json", ".gemini/projects.json")
    environ = ("GEMINI_CLI_NO_RELAUNCH",)
    stop_is_end = True

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        """It starts itself a second time, with a larger heap and this variable; the outer one only waits."""
        if not image.runs(process, "gemini", (PACKAGE,)):
            return None
        return Role.LEADER if process.environ.get("GEMINI_CLI_NO_RELAUNCH") == "true" else Role.LAUNCHER

    def package_files(self, process: ProcessFacts) -> tuple[str, ...]:
        return image.package_json(image.script(process), PACKAGE)

    def version(self, text: str) -> str:
        return package_version(text, (PACKAGE,))

    def is_helper(self, process: ProcessFacts) -> bool:
        return image.is_furniture(process)

    def hook_event(self, event: str, payload: Json, at: int) -> AgentEvent:
        """The fields of its hooks' standard input, with a stamp of its own."""
        kind = _HOOKS.get(event, EventKind.NOTE)
        if event == "Notification" and word(payload, "notification_type") == "ToolPermission":
            kind = EventKind.WAITING
        return AgentEvent(
            kind,
            ordered(kind, usec(word(payload, "timestamp"))) or at,
            agent_session_id=word(payload, "session_id"),
            # Not its transcript_path: after a resume it names another minute than the file's.
            cwd=word(payload, "cwd"),
            detail=word(payload, "tool_name") or word(payload, "source") or word(payload, "reason"),
        )

    def nothing_to_say(self, event: str) -> str:
        return "{}"

    def hooks_doubt(self, hooks: Sequence[Installed], file: str, settings: Mapping[str, Json]) -> str:
        """It runs no hook, not even its user's own, in a folder that is not trusted; which that is only it
        knows."""
        config = table(table(settings, "settings.json"), "hooksConfig")
        if config.get("enabled") is False:
            return "hooks are off: 'hooksConfig.enabled'"
        disabled = config.get("disabled")
        names = {word(hook.handler, "command") for hook in hooks}
        if isinstance(disabled, list) and names.intersection(filter(_is_word, disabled)):
            return "hooks of ours are in 'hooksConfig.disabled'"
        return ""

    def block(self, event: str, reason: str) -> str:
        """Its user reads "Agent execution blocked", the reason, and, once, that the request failed: these
        are its own words, and it goes on all the same."""
        return json.dumps({"decision": "deny", "reason": reason})

    def transcript(self, session: Session, home: str, environ: Mapping[str, str]) -> str | Query | None:
        """Its name has the minute in which it was made, and the first eight characters of its id."""
        if session.transcript or not session.agent_session_id:
            return session.transcript or None
        return f"{home}/.gemini/tmp/*/chats/session-*-{session.agent_session_id[:8]}.jsonl"

    def records(self, lines: Sequence[str]) -> Records:
        records, is_complete = parse(lines)
        return Records(tuple(filter(None, map(_record, records))), is_complete)

    def screen(self, text: str) -> ScreenReading:
        """The composer is below the last rule; what stands above it looks the same, but was sent."""
        if _DIALOG.search(text):
            return ScreenReading(has_dialog=True, has_draft=False)
        _, rule, below = text.rpartition("\n──────")
        composers = ["".join(found.groups()).strip() for found in _COMPOSER.finditer(below)]
        if not rule or not composers:
            return UNREADABLE
        typed = composers[-1]
        # Where nothing is typed, that is written there: a draft may as well begin with empty lines.
        return ScreenReading(False, has_draft=not typed.startswith("Type your message"))


def _is_word(value: object) -> bool:
    return isinstance(value, str)


def _is_all_cancelled(record: Json) -> bool:
    """Results of tools none of which was let finish: they are kept, but not sent to the model."""
    answers = [table(part, "functionResponse") for part in tables(record, "content")]
    errors = [word(table(answer, "response"), "error") for answer in answers]
    return bool(errors) and all(error.startswith("[Operation Cancelled]") for error in errors)


def _is_history(record: Json) -> bool:
    """What it was told so far, written down again, and stamped with now. A prompt is a record of its own."""
    parts = [word(part, "text") for part in tables(record, "content")]
    return len(parts) > 1 and parts[0].startswith("<session_context>\nThis is the Gemini CLI.")


def _record(record: Json) -> AgentEvent | None:
    at = usec(word(record, "timestamp"))
    match word(record, "type"):
        case "user" if _is_history(record):
            return None
        case "user":
            kind = EventKind.SETTLED if _is_all_cancelled(record) else EventKind.WORK
            return AgentEvent(kind, ordered(kind, at))
        case "info" if word(record, "content") == "Request cancelled.":  # Escape
            return AgentEvent(
                EventKind.SETTLED, ordered(EventKind.SETTLED, at), detail="interrupted", is_cut=True
            )
        case "gemini" if word(record, "content") and not tables(record, "toolCalls"):
            return AgentEvent(EventKind.TURN_END, ordered(EventKind.TURN_END, at))
        case _ if session := word(record, "sessionId"):
            return AgentEvent(EventKind.NOTE, usec(word(record, "startTime")), session)
        case _:
            return None
