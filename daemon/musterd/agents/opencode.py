"""opencode: checked with 1.18.33.

One process can have several conversations, and each subagent is one of its own, whose parent its plugin
names. The records are rows of an SQLite database that all its processes share.
"""

import json
import re
from collections.abc import Mapping, Sequence

from musterd.core.event import AgentEvent, EventKind
from musterd.core.session import Agent, Session

from . import image
from .base import UNREADABLE, Adapter, Json, ProcessFacts, Query, Records, Role, ScreenReading
from .fields import integer, ordered, package_version, parse, table, title_of, word
from .flags import Flags
from .hooks import Extension, Place

PACKAGE = "opencode-ai"

_HOOKS = {
    "tool.execute.before": EventKind.WORK,
    # Not tool.execute.after: after an abort it comes when the session is idle already.
    "permission.asked": EventKind.WAITING,
    "permission.replied": EventKind.ANSWERED,
    "question.asked": EventKind.WAITING,
    "question.replied": EventKind.ANSWERED,
    "question.rejected": EventKind.ANSWERED,
    "session.idle": EventKind.SETTLED,
    "session.error": EventKind.NOTE,  # the session becomes idle after it
    "dispose": EventKind.NOTE,  # of the plugin: it is loaded again within one process, too
}

_STATUS = {"busy": EventKind.WORK, "idle": EventKind.SETTLED, "retry": EventKind.RECOVERY_START}

# The same program as a server, as a client of one, or as a tool: not the place where a session can be ended.
_NO_SESSION = frozenset((
    "acp", "attach", "auth", "export", "import", "mcp", "models", "serve", "stats", "uninstall", "upgrade",
    "web",
))  # fmt: skip

# Newest messages only: older ones cannot say more. Those of subagents are there to count as growth.
_SQL = """
SELECT record FROM (
  SELECT m.time_created AS at, m.id AS id, json_object(
    'session', m.session_id, 'parent', s.parent_id, 'title', s.title, 'directory', s.directory,
    'role', json_extract(m.data, '$.role'), 'finish', json_extract(m.data, '$.finish'),
    'error', json_extract(m.data, '$.error.name'), 'created', m.time_created,
    'completed', json_extract(m.data, '$.time.completed'), 'parts', (
      SELECT count(*) || ':' || ifnull(max(p.time_updated), 0) FROM part p WHERE p.message_id = m.id
    )) AS record
  FROM message m JOIN session s ON s.id = m.session_id
  WHERE s.id = :session OR s.parent_id = :session
  ORDER BY m.time_created DESC, m.id DESC LIMIT 100
) ORDER BY at, id
"""

_DIALOG = re.compile(r"△ Permission required|Allow once +Allow always|enter submit", re.MULTILINE)
_PLACEHOLDER = "Ask anything"


_FLAGS = Flags(
    plain=("--auto", "--mini", "--no-replay", "--print-logs", "--pure"),
    valued=("--agent", "--hostname", "--log-level", "--model", "-m", "--port", "--replay-limit"),
    dropped=("--prompt", "--session", "-s"),
)


class OpenCode(Adapter):
    agent = Agent.OPENCODE
    comms = ("opencode", ".opencode")
    resume = ("opencode", "--session")
    flags = _FLAGS
    hooks = Extension(
        Place(".config/opencode", "XDG_CONFIG_HOME", "opencode"), "plugins/musterd.js", "opencode.js"
    )
    marks = ("OPENCODE_PID",)
    versions = ((1, 18), (1, 18))
    # Not the database: our own look at it would count as a start.
    opens = (".config/opencode/opencode.json", ".local/share/opencode/log/opencode.log")
    environ = ("XDG_DATA_HOME",)
    stop_is_end = True

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        if image.runs(process, "opencode", (PACKAGE,)):
            return Role.LAUNCHER
        if image.name(process.executable) not in ("opencode", "opencode.exe"):
            return None
        if image.subcommand(process, _NO_SESSION) or (parent and parent.executable == process.executable):
            return None
        return Role.LEADER

    def package_files(self, process: ProcessFacts) -> tuple[str, ...]:
        return image.package_json(process.executable, PACKAGE)

    def version(self, text: str) -> str:
        return package_version(text, (PACKAGE,))

    def is_helper(self, process: ProcessFacts) -> bool:
        return image.is_furniture(process)

    def hook_event(self, event: str, payload: Json, at: int) -> AgentEvent:
        """What its plugin sends: `directory`, `version`, `time` (ms), the event's `properties`, `parentID`
        when the session is a subagent's, and `asks` when it waits for an answer: a turn was completed."""
        properties = table(payload, "properties")
        info = table(properties, "info")
        session = word(payload, "sessionID") or word(properties, "sessionID")
        parent = word(payload, "parentID") or word(info, "parentID")
        kind = _kind(event, properties, is_subagent=bool(parent))
        if kind is EventKind.SETTLED and payload.get("asks") is True:
            kind = EventKind.STOP
        return AgentEvent(
            kind,
            ordered(kind, integer(payload, "time") * 1000) or at,
            agent_session_id=parent or session,
            subagent=session if parent else "",
            cwd=word(payload, "directory"),
            version=word(payload, "version"),
            begins=kind is EventKind.WORK and event == "session.status",
            is_cut=event == "session.error",
            detail=word(payload, "tool") or word(properties, "permission"),
        )

    def block(self, event: str, reason: str) -> str:
        """For its plugin, which prompts anew: it lets nobody hold a turn."""
        return json.dumps({"decision": "block", "reason": reason})

    def transcript(self, session: Session, home: str, environ: Mapping[str, str]) -> str | Query | None:
        if not session.agent_session_id:
            return None
        data = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
        return Query(f"{data}/opencode/opencode.db", _SQL, {"session": session.agent_session_id})

    def records(self, lines: Sequence[str]) -> Records:
        """Rows of our own query."""
        records, is_complete = parse(lines)
        events = [event for record in records if not word(record, "parent") for event in _message(record)]
        return Records(tuple(events), is_complete)

    def screen(self, text: str) -> ScreenReading:
        """The composer is the box at the bottom; its last line names the model."""
        if _DIALOG.search(text):
            return ScreenReading(has_dialog=True, has_draft=False)
        box = _bottom_box(text.splitlines())
        if not box:
            return UNREADABLE
        typed = [line for line in box[:-1] if line and not line.startswith(_PLACEHOLDER)]
        return ScreenReading(has_dialog=False, has_draft=bool(typed))


def _kind(event: str, properties: Json, *, is_subagent: bool) -> EventKind:
    if event == "session.status":
        kind = _STATUS.get(word(table(properties, "status"), "type"), EventKind.NOTE)
    elif event == "session.created":
        kind = EventKind.SESSION_START
    else:
        kind = _HOOKS.get(event, EventKind.NOTE)
    if not is_subagent:
        return kind
    # A subagent's question is asked on the same screen, but its turns are not its parent's.
    subagents = {
        EventKind.SESSION_START: EventKind.SUBAGENT_START,
        EventKind.SETTLED: EventKind.SUBAGENT_END,
    }
    return subagents.get(kind, kind)


def _message(record: Json) -> list[AgentEvent]:
    """A message of the user starts a turn; one of the assistant is a step of it, which may have an end."""
    session, title = word(record, "session"), title_of(word(record, "title"))
    created, completed = integer(record, "created") * 1000, integer(record, "completed") * 1000
    kind = EventKind.TURN_START if word(record, "role") == "user" else EventKind.WORK
    start = AgentEvent(kind, ordered(kind, created), session, cwd=word(record, "directory"), title=title)
    if kind is EventKind.TURN_START or not completed:
        return [start]
    goes_on = word(record, "finish") == "tool-calls" and not word(record, "error")
    kind = EventKind.WORK if goes_on else EventKind.TURN_END
    detail = word(record, "error") or word(record, "finish")
    return [start, AgentEvent(kind, ordered(kind, completed), session, detail=detail)]


def _bottom_box(lines: Sequence[str]) -> list[str]:
    bottom = next((row for row in range(len(lines) - 1, -1, -1) if lines[row].lstrip().startswith("╹▀")), 0)
    top = bottom
    while top and lines[top - 1].lstrip().startswith("┃"):
        top -= 1
    return [line.strip(" ┃") for line in lines[top:bottom] if line.strip(" ┃")]
