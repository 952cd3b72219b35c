"""An agent for tests: a shell under another name, whose files the test writes."""

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from helpers.programs import Programs
from musterd.agents.base import Adapter, ProcessFacts, Query, Records, Role, ScreenReading
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Native, NativeState, Observation
from musterd.core.session import Agent, Session, SessionId
from musterd.host.clock import HostClock
from musterd.warden.local import LocalWarden
from musterd.warden_port import Leader, WardenEvent

Event = TypeVar("Event", bound=WardenEvent)


class Scribe(Adapter):
    """Recognised by its image in HOME/bin, so that no other test's is. Files are in HOME/.scribe."""

    agent = Agent.PI
    opens = (".scribe/settings",)
    environ = ("SCRIBE_TRANSCRIPT",)
    marks = ("SCRIBE_SESSION", "SCRIBE_PID")

    def __init__(self, home: Path) -> None:
        self._roles = {f"{home}/bin/scribe": Role.LEADER, f"{home}/bin/launcher": Role.LAUNCHER}

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        return self._roles.get(process.executable)

    def package_files(self, process: ProcessFacts) -> tuple[str, ...]:
        return ("/nonexistent", os.path.join(os.path.dirname(process.executable), "version"))

    def version(self, text: str) -> str:
        return text.strip()

    def is_helper(self, process: ProcessFacts) -> bool:
        return process.comm == "cat"

    def transcript(self, session: Session, home: str, environ: Mapping[str, str]) -> str | Query | None:
        if session.transcript:
            return session.transcript
        return environ.get("SCRIBE_TRANSCRIPT", "").replace("HOME", home) or None

    def records(self, lines: Sequence[str]) -> Records:
        events = []
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record.get("kind") == "crash":
                raise RuntimeError("a bug in the adapter")
            events.append(AgentEvent(EventKind(record["kind"]), record.get("at", 0)))
        return Records(tuple(events), is_complete=lines[-1].endswith("}"))

    def queue(self, session: Session, home: str, environ: Mapping[str, str]) -> Query | None:
        return Query(
            f"{home}/.scribe/queue", "SELECT id FROM queue WHERE session = :session", {"session": session.id}
        )

    def open_session(self, paths: Sequence[str], locked: Sequence[str]) -> str:
        return next((os.path.basename(path)[:-5] for path in locked if path.endswith(".lock")), "")

    def open_transcripts(self, paths: Sequence[str], locked: Sequence[str]) -> Mapping[str, str]:
        return {os.path.basename(path)[:-5]: path for path in paths if path.endswith(".talk")}

    def status_file(self, session: Session, home: str, environ: Mapping[str, str]) -> str:
        return f"{home}/.scribe/status-{session.leader.pid}" if session.leader else ""

    def status(self, text: str, process: ProcessFacts) -> Native:
        if text == "crash":
            raise RuntimeError("a bug in the adapter")
        status = json.loads(text)
        return Native(NativeState(status["state"]), status.get("id", ""), status.get("at", 0))

    def screen(self, text: str) -> ScreenReading:
        return ScreenReading("DIALOG" in text, "DRAFT" in text, is_readable="PAGER" not in text)


@dataclass
class Scene:
    """A home, programs in it, and the warden that looks at them."""

    home: Path
    programs: Programs
    warden: LocalWarden
    heard: list[WardenEvent] = field(default_factory=list)
    _events: AsyncIterator[WardenEvent] | None = None

    @property
    def scribe(self) -> Path:
        return self.home / "bin" / "scribe"

    def start(
        self, script: str = "read line", *, environ: Mapping[str, str] | None = None, launcher: bool = False
    ) -> int:
        """The pid of a scribe (or of its launcher) that runs a shell script."""
        program = self.home / "bin" / ("launcher" if launcher else "scribe")
        return self.programs.start(program, "-c", f"{script}\n:", environ=environ)

    async def session(self, pid: int, name: str = "s", *, transcript: Path | None = None) -> Session:
        """On the roll, as a manager would put it there, and watched."""
        session = session_of(await self.warden.leader(pid, None), name, str(transcript or ""))
        await self.warden.watch(session)
        return session

    async def look(self, session: Session, *, screens: bool = False) -> Observation:
        return (await self.warden.observe([session], screens=screens))[session.id]

    async def event(self, kind: type[Event]) -> Event:
        """The next event of that kind; those before it stay in `heard`."""
        if self._events is None:
            self._events = self.warden.events()
        while True:
            event = await anext(self._events)
            self.heard.append(event)
            if isinstance(event, kind):
                return event

    def queue(self, *sessions: str) -> None:
        """One more input waits for each of these."""
        (self.home / ".scribe").mkdir(exist_ok=True)
        with closing(sqlite3.connect(self.home / ".scribe/queue")) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, session TEXT)")
            database.executemany("INSERT INTO queue (session) VALUES (?)", [(name,) for name in sessions])

    def write(self, name: str, text: str) -> Path:
        path = self.home / ".scribe" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path


def session_of(leader: Leader, name: str = "s", transcript: str = "") -> Session:
    return Session(
        SessionId(name),
        leader.agent,
        leader.facts.uid,
        leader.process,
        cwd=leader.facts.cwd,
        agent_session_id=leader.agent_session_id,
        transcript=transcript or leader.transcript,
        terminal=leader.terminal,
        scope=leader.scope,
        executable=leader.facts.executable,
        environ=leader.environ,
        started_usec=leader.facts.start_usec,
    )


def line(kind: EventKind, at: int = 0) -> str:
    return json.dumps({"kind": kind, "at": at}) + "\n"


def _install(directory: Path) -> None:
    directory.mkdir()
    for name in ("scribe", "launcher"):
        shutil.copy(os.path.realpath("/bin/sh"), directory / name)
    (directory / "version").write_text("1.2.3\n")


@asynccontextmanager
async def scene(home: Path, *, interval: float = 3600.0, bus: str = "system") -> AsyncIterator[Scene]:
    """The warden's own sweeps come only when a file is opened, unless `interval` says otherwise."""
    _install(home / "bin")
    with Programs() as programs:
        adapters = [Scribe(home)]
        warden = LocalWarden(os.getuid(), adapters, HostClock(), str(home), bus=bus, interval=interval)
        try:
            await warden.sweep()  # behind the one that it does at its start
            if warden._discovery:
                await asyncio.wait([warden._discovery._listening])
            yield Scene(home, programs, warden)
        finally:
            await warden.close()
