"""Codex CLI: checked with 0.169.0.

What proves the end of a turn is its rollout (`task_complete`, `turn_aborted`), with the id of the turn. The
thread id is in the name of the rollout, and of the lock that its writer holds from the first prompt, or a
resume, on.
"""

import hashlib
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

PACKAGE = "@openai/codex"

_HOOKS = {
    "SessionStart": EventKind.SESSION_START,
    "UserPromptSubmit": EventKind.TURN_START,
    "PreModelRequest": EventKind.WORK,
    "PostModelRequest": EventKind.WORK,
    "PreToolUse": EventKind.WORK,
    "PostToolUse": EventKind.WORK,
    "PermissionRequest": EventKind.WAITING,
    "PreCompact": EventKind.RECOVERY_START,
    "PostCompact": EventKind.RECOVERY_END,
    "SubagentStart": EventKind.SUBAGENT_START,
    "SubagentStop": EventKind.SUBAGENT_END,
    "Stop": EventKind.STOP,
    "Interrupt": EventKind.SETTLED,
    "SessionEnd": EventKind.SESSION_END,
}

_RECORDS = {
    "task_started": EventKind.TURN_START,
    "task_complete": EventKind.SETTLED,
    "turn_aborted": EventKind.SETTLED,
}

# The same program as a service or a tool: holds other sessions, or none.
_NO_SESSION = frozenset((
    "app-server", "apply", "completion", "exec-server", "login", "logout", "mcp", "mcp-server", "sandbox",
    "update",
))  # fmt: skip

_THREAD = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_LOCK = re.compile(rf"/thread-writer-locks/{_THREAD}\.lock$")
_ROLLOUT = re.compile(rf"/sessions/.*/rollout-.*-{_THREAD}\.jsonl$")

# Behind an angle quotation mark, down to a blank line. Where nothing is typed, something is written there: a
# draft may as well begin with empty lines.
_COMPOSER = re.compile(r"^\u203a(.*(?:\n.*\S.*)*)$", re.MULTILINE)
_PLACEHOLDERS = ("Ask Codex to do anything", "Ask a follow-up question")
# What was sent while it worked stands above the composer until its turn has come; it is nowhere on disk.
_QUEUE = re.compile(r"^• (?:Queued follow-up inputs|Messages to be submitted after .*)\n +↳ ", re.MULTILINE)
_QUEUED = "SELECT json_object('id', id) FROM queued_items WHERE thread_id = :session LIMIT 100"
_DIALOG = re.compile(
    r"^ *(?:Press enter to (?:confirm|continue)|Trust this folder\?|Hooks need review)", re.MULTILINE
)


# Not --cd: a path that is relative to where it was started is none where it works.
_FLAGS = Flags(
    plain=(
        "--approve-for-me", "--dangerously-bypass-approvals-and-sandbox", "--dangerously-bypass-hook-trust",
        "--no-alt-screen", "--no-daemon", "--oss", "--search", "--strict-config",
    ),
    valued=(
        "--add-dir", "--ask-for-approval", "-a", "--config", "-c", "--disable", "--enable",
        "--local-provider", "--model", "-m", "--profile", "-p", "--sandbox", "-s",
    ),
    dropped=("--cd", "-C", "--image", "-i", "--remote", "--remote-auth-token-env"),
)  # fmt: skip


# Its rollout tells of tools; a turn is from UserPromptSubmit to Stop or Interrupt.
_INSTALLED = CommandHooks(
    Place(".codex", "CODEX_HOME"),
    "hooks.json",
    (
        "SessionStart", "UserPromptSubmit", "PostToolUse", "PermissionRequest", "PreCompact", "PostCompact",
        "SubagentStart", "SubagentStop", "Stop", "Interrupt", "SessionEnd",
    ),
    limit=3,  # it gives Interrupt no more
    is_strict=True,
)  # fmt: skip


class Codex(Adapter):
    agent = Agent.CODEX
    comms = ("codex",)
    resume = ("codex", "resume")
    flags = _FLAGS
    hooks = _INSTALLED
    doubted_by = ("config.toml",)
    marks = ("CODEX_SESSION_ID", "CODEX_THREAD_ID")
    placeholder = _PLACEHOLDERS[0]
    versions = ((0, 169), (0, 169))
    opens = (".codex/config.toml",)
    environ = ("CODEX_HOME", "CODEX_SQLITE_HOME", "CODEX_MANAGED_PACKAGE_ROOT", "CODEX_MANAGED_BY_NPM")

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        """The native program; the node script that npm installs around it is its launcher."""
        if image.runs(process, "codex", (PACKAGE,)):
            return Role.LAUNCHER
        if image.name(process.executable) != "codex" or image.subcommand(process, _NO_SESSION):
            return None
        if parent and parent.executable == process.executable:
            return None  # it runs itself under other names, as a sandbox or to apply patches
        return Role.LEADER

    def package_files(self, process: ProcessFacts) -> tuple[str, ...]:
        managed = process.environ.get("CODEX_MANAGED_PACKAGE_ROOT", "")
        within, found, _ = process.executable.partition("/vendor/")
        paths = (managed if managed.startswith("/") else "", within if found else "")
        return tuple(f"{path}/package.json" for path in paths if path)

    def version(self, text: str) -> str:
        return package_version(text, (PACKAGE,)).partition("-")[0]

    def is_helper(self, process: ProcessFacts) -> bool:
        return image.is_furniture(process)

    def hook_event(self, event: str, payload: Json, at: int) -> AgentEvent:
        """The fields of its hooks' standard input."""
        kind = _HOOKS.get(event, EventKind.NOTE)
        return AgentEvent(
            kind,
            at,
            agent_session_id=word(payload, "session_id"),
            subagent=word(payload, "agent_id"),
            turn_id=word(payload, "turn_id"),
            transcript=word(payload, "transcript_path"),
            cwd=word(payload, "cwd"),
            detail=word(payload, "tool_name") or word(payload, "source") or word(payload, "reason"),
            is_cut=event == "Interrupt",
        )

    def nothing_to_say(self, event: str) -> str:
        return "{}"

    def hooks_doubt(self, hooks: Sequence[Installed], file: str, settings: Mapping[str, Json]) -> str:
        """It runs a hook only if its user accepted it: then the hash of just that hook is in config.toml."""
        state = table(table(table(settings, "config.toml"), "hooks"), "state")
        for hook in hooks:
            kept = table(state, f"{file}:{_snake(hook.event)}:{hook.group}:{hook.index}")
            if kept.get("enabled") is False:
                return f"its {hook.event} was disabled in codex"
            if word(kept, "trusted_hash") != _trust_hash(hook):
                what = f"{hook.event} has changed since" if "trusted_hash" in kept else "not trusted yet"
                return f"{what}: start codex, and choose 'Trust all and continue'"
        return ""

    def block(self, event: str, reason: str) -> str:
        return json.dumps({"decision": "block", "reason": reason})

    def transcript(self, session: Session, home: str, environ: Mapping[str, str]) -> str | Query | None:
        if session.transcript or not session.agent_session_id:
            return session.transcript or None
        base = environ.get("CODEX_HOME") or f"{home}/.codex"
        return f"{base}/sessions/*/*/*/rollout-*-{session.agent_session_id}.jsonl"

    def records(self, lines: Sequence[str]) -> Records:
        records, is_complete = parse(lines)
        return Records(tuple(filter(None, map(_record, records))), is_complete)

    def queue(self, session: Session, home: str, environ: Mapping[str, str]) -> Query | None:
        """What `codex queue` left for it. A TUI takes it up within seconds, or when its turn is over."""
        if not session.agent_session_id:
            return None
        base = environ.get("CODEX_SQLITE_HOME") or environ.get("CODEX_HOME") or f"{home}/.codex"
        return Query(f"{base}/queue_1.sqlite", _QUEUED, {"session": session.agent_session_id})

    def open_session(self, paths: Sequence[str], locked: Sequence[str]) -> str:
        """The thread whose writer it is. More than one, and none of them stands for the process."""
        for pattern, candidates in ((_LOCK, locked), (_ROLLOUT, paths)):
            if threads := {found.group(1) for path in candidates if (found := pattern.search(path))}:
                return threads.pop() if len(threads) == 1 else ""
        return ""

    def open_transcripts(self, paths: Sequence[str], locked: Sequence[str]) -> Mapping[str, str]:
        """A subagent is a thread of its own, which goes on when the turn that started it is over."""
        threads = {found.group(1): "" for path in locked if (found := _LOCK.search(path))}
        return threads | {found.group(1): path for path in paths if (found := _ROLLOUT.search(path))}

    def screen(self, text: str) -> ScreenReading:
        if _DIALOG.search(text):
            return ScreenReading(has_dialog=True, has_draft=False)
        composers = [found.group(1).strip() for found in _COMPOSER.finditer(text)]
        if not composers:
            return UNREADABLE
        has_queue = bool(_QUEUE.search(text))
        return ScreenReading(False, has_draft=has_queue or composers[-1] not in _PLACEHOLDERS)

    def quit_keys(self, session: Session) -> tuple[str, ...]:
        return "/quit", "Enter"


def _trust_hash(hook: Installed) -> str:
    """As Codex 0.169.0 computes it (`currentHash` in the answer to hooks/list)."""
    handler = {"async": False, "timeout": 600, **hook.handler}
    identity: dict[str, object] = {"event_name": _snake(hook.event), "hooks": [handler]}
    if hook.matcher is not None:
        identity["matcher"] = hook.matcher
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode(errors='replace')).hexdigest()}"


def _snake(event: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower()


def _record(record: Json) -> AgentEvent | None:
    at, payload = usec(word(record, "timestamp")), table(record, "payload")
    match word(record, "type"), word(payload, "type"):
        case "session_meta", _:
            version = word(payload, "cli_version")
            return AgentEvent(
                EventKind.NOTE, at, word(payload, "id"), cwd=word(payload, "cwd"), version=version
            )
        case "event_msg", ("task_started" | "task_complete" | "turn_aborted") as word_of_turn:
            kind = _RECORDS[word_of_turn]
            return AgentEvent(
                kind,
                ordered(kind, at),
                turn_id=_turn_id(payload),
                detail=word(payload, "reason"),
                is_cut=word_of_turn == "turn_aborted",
            )
        case "response_item", item:
            return AgentEvent(EventKind.NOTE if _is_notice(payload) else EventKind.WORK, at, detail=item)
        case _:
            return None


def _is_notice(item: Json) -> bool:
    """Of the end of a subagent: it is written down at once, and is no work of a turn that is over."""
    parts = [word(part, "text") for part in tables(item, "content")]
    return bool(parts) and all(part.startswith("<subagent_notification>") for part in parts)


def _turn_id(payload: Json) -> str:
    return word(payload, "turn_id") or word(table(payload, "turn_attribution"), "turn_id")
