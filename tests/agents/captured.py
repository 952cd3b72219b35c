"""What real agents showed (tests/real/capture.py), as the daemon would get it."""

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from musterd.agents.base import Adapter, ProcessFacts, Query
from musterd.agents.catalog import ADAPTERS
from musterd.core.event import AgentEvent, EventKind
from musterd.core.life import heard
from musterd.core.session import Agent, PidRef, Session, SessionId, Source

CAPTURES = Path(__file__).parent / "captures"
HOME = "/home/user"

# After these the process that speaks is another one.
_BIRTHS = ("session_start", "SessionStart", "plugin")

_COLOURS = re.compile(r"\x1b(?:\[[0-9;:?]*[A-Za-z]|[()][A-Z0-9])")


@dataclass(frozen=True)
class Captured:
    """One agent's life, stage by stage."""

    name: str

    @property
    def adapter(self) -> Adapter:
        return ADAPTERS[Agent(self.name.partition("-")[0])]

    @cached_property
    def stages(self) -> dict[str, Any]:
        stages: dict[str, Any] = json.loads((CAPTURES / self.name / "stages.json").read_text())
        return stages

    def tree(self, stage: str) -> list[ProcessFacts]:
        """The processes below the shell, parents first."""
        return [facts_of(process, self.adapter.environ) for process in self.stages[stage]["tree"]]

    def screen(self, stage: str) -> str:
        return _COLOURS.sub("", (CAPTURES / self.name / f"{stage}.screen").read_text())

    def calls(self, stage: str) -> list[dict[str, Any]]:
        """The hook calls of the process that ran at that stage."""
        order = list(self.stages)
        reached = order[: order.index(stage) + 1]
        log = (CAPTURES / self.name / "hooks.jsonl").read_text().splitlines()
        calls = [call for call in map(json.loads, log) if call["stage"] in reached]
        births = [row for row, call in enumerate(calls) if call["event"] in _BIRTHS]
        return calls[births[-1] if births else 0 :]

    def hook_events(self, stage: str) -> list[AgentEvent]:
        """An allowed stop is what the adapter says of it."""
        spoken = [
            self.adapter.hook_event(call["event"], call["payload"], int(call["time"] * 1_000_000))
            for call in self.calls(stage)
        ]
        allowed = EventKind.SETTLED if self.adapter.stop_is_end else EventKind.TURN_END
        return [replace(event, kind=allowed) if event.kind is EventKind.STOP else event for event in spoken]

    def lines(self, stage: str, session: Session) -> list[str]:
        """What could be read of its transcript then."""
        seen = self.stages[stage]
        if "copy" not in seen:
            return []  # made with the first prompt
        text = (CAPTURES / self.name / str(seen["copy"])).read_text()
        lines = text.splitlines()[: int(seen["lines"])]
        match self.adapter.transcript(session, HOME, {}):
            case Query() as query:
                return rows_of(lines, query)
            case _ if session.agent_session_id[:8] in seen["copy"]:
                return lines
            case _:
                return []  # another one was the newest then

    def session(self, stage: str, *, hooks: bool = True, transcript_first: bool = False) -> Session:
        """The session as the daemon knows it then."""
        known = Session(SessionId("captured"), self.adapter.agent, 1000, PidRef(1, 1, "boot"))
        from_hooks = self.hook_events(stage)
        named = known
        for event in from_hooks:
            named = heard(named, event, Source.HOOK)
        from_transcript = self.adapter.records(self.lines(stage, named)).events
        said = [(event, Source.HOOK) for event in from_hooks] if hooks else []
        read = [(event, Source.TRANSCRIPT) for event in from_transcript]
        for event, source in read + said if transcript_first else said + read:
            known = heard(known, event, source)
        return known


def facts_of(process: Mapping[str, Any], names: tuple[str, ...]) -> ProcessFacts:
    return ProcessFacts(
        pid=process["pid"],
        ppid=process["ppid"],
        uid=1000,
        start_ticks=process["start_ticks"],
        start_usec=0,
        executable=process["exe"],
        comm=process["comm"],
        argv=tuple(process["argv"]),
        cwd=process["cwd"],
        environ={key: value for key, value in process["environ"].items() if key in names},
        tty=process["tty"],
    )


def rows_of(lines: list[str], query: Query) -> list[str]:
    """The query, on a database with these rows."""
    with closing(sqlite3.connect(":memory:")) as database:
        columns = ("id", "session_id", "message_id", "parent_id", "title", "directory", "time_created",
                   "time_updated", "data")  # fmt: skip
        for table in ("session", "message", "part"):
            database.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        for row in map(json.loads, lines):
            if row["table"] in ("session", "message", "part"):
                marks = ", ".join("?" * len(columns))
                values = [row.get(column) for column in columns]
                database.execute(f"INSERT INTO {row['table']} VALUES ({marks})", values)
        return [str(row[0]) for row in database.execute(query.sql, dict(query.parameters))]


def every(*stages: str, names: tuple[str, ...] = ("pi", "codex", "opencode", "gemini")) -> list[Any]:
    """(captured, stage) of each agent that went through one of these stages."""
    lives = [Captured(name) for name in names]
    return [(life, stage) for life in lives for stage in life.stages if stage in stages]
