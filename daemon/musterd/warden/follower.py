"""One watched session: its process, its transcript and its status, and what they newly say."""

import asyncio
import glob
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from musterd.agents.base import Adapter, ProcessFacts, Query
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Native, NativeState, Transcript, Unknown
from musterd.core.session import PidRef, Session, Source
from musterd.host.files import APPEARED, Files, Subscription
from musterd.host.query import QueryReader
from musterd.host.transcript import Tail, Unreadable, read_text
from musterd.host.watch import ExitWatch
from musterd.ports import Said

logger = logging.getLogger(__name__)

STATUS_LIMIT = 64 * 1024  # bytes of a status file
FOLDERS_LIMIT = 16  # directories in which a transcript that is not there yet is waited for

_SAYS = {
    NativeState.IDLE: EventKind.SETTLED,
    NativeState.BUSY: EventKind.WORK,
    NativeState.SHELL: EventKind.WORK,
    NativeState.WAITING: EventKind.WAITING,
}


class Follower:
    """`changed` is called whenever one of its files may have changed; then `read` tells what is new."""

    def __init__(
        self,
        session: Session,
        adapter: Adapter,
        facts: ProcessFacts,
        home: str,
        exit_watch: ExitWatch,
        files: Files,
        changed: Callable[["Follower"], None],
    ) -> None:
        self.session = session
        self.adapter = adapter
        self.facts = facts
        self.exit_watch = exit_watch
        self.launcher: PidRef | None = None
        self.transcript: Transcript | Unknown | None = None
        self.native: Native | Unknown | None = None
        self.held_session_id = ""  # by a file that it has open or locked
        self._home = home
        self._files = files
        self._changed = changed
        self._subscriptions: list[Subscription] = []
        self._place: str | Query | None = None  # where its adapter says that the transcript is
        self._reader: Tail | QueryReader | None = None
        self._arranged: tuple[str | Query | None, str | Query | None, str] | None = None
        self._parses = False
        self._said: frozenset[AgentEvent] = frozenset()  # by a query: it brings old rows again
        self._noted: tuple[str, str] = (session.agent_session_id, session.transcript)
        self._reading = asyncio.Lock()
        self.arrange()

    @property
    def is_query(self) -> bool:
        return isinstance(self._reader, QueryReader)

    @property
    def process(self) -> PidRef:
        return self.exit_watch.process

    def renew(self, session: Session) -> None:
        """Take a new value of the session: a transcript or an agent session id may have become known."""
        self.session = session
        self._noted = (session.agent_session_id, session.transcript)
        self.arrange()

    def close(self) -> None:
        self.exit_watch.close()
        self._unsubscribe()

    def arrange(self) -> None:
        """Find the files anew, and be told of their changes."""
        place = self.adapter.transcript(self.session, self._home, self.facts.environ)
        found = resolve(place) if isinstance(place, str) else place
        status = self._status_path()
        if self._arranged == (place, found, status) and (found or not place):
            return
        if self._arranged is None or self._arranged[1] != found:
            self._reader = self._open(found)
        self._place, self._arranged = place, (place, found, status)
        self._subscribe(status)
        self._changed(self)

    def _open(self, found: str | Query | None) -> Tail | QueryReader | None:
        self._parses, self._said = False, frozenset()
        if isinstance(found, Query):
            return QueryReader(found, self.session.uid)
        return Tail(found, self.session.uid) if found else None

    def _subscribe(self, status: str) -> None:
        self._unsubscribe()
        self._listen(status)
        if isinstance(self._reader, QueryReader):
            for path in self._reader.files:
                self._listen(path)
        elif self._reader:
            self._listen(self._reader.path)
        elif isinstance(self._place, str):
            for pattern in _stages(self._place):
                self._listen(pattern, is_pattern=True)

    def _listen(self, path: str, *, is_pattern: bool = False) -> None:
        if not path:
            return
        try:
            if is_pattern:
                subscribe = self._files.subscribe(path, self.arrange, APPEARED, is_pattern=True)
            else:
                subscribe = self._files.subscribe(path, lambda: self._changed(self))
        except OSError as exc:
            logger.warning("Cannot watch '%s': %s, ignoring", path, exc.strerror)
        else:
            self._subscriptions.append(subscribe)

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            self._files.unsubscribe(subscription)
        self._subscriptions = []

    def _status_path(self) -> str:
        return self.adapter.status_file(self.session, self._home, self.facts.environ)

    async def read(self, now: int) -> list[Said]:
        """What the session newly said, oldest first; `transcript` and `native` are as of now."""
        async with self._reading:
            transcript = await self._read_transcript()
        said = [self._say(event, Source.TRANSCRIPT) for event in transcript]
        if event := self._read_status(now):
            said.append(self._say(event, Source.NATIVE))
        return [*self._note(now), *said]

    def _say(self, event: AgentEvent, source: Source) -> Said:
        return Said(self.session.id, event, source)

    def holds(self, agent_session_id: str, now: int) -> list[Said]:
        """Its open files say which conversation it holds."""
        self.held_session_id = agent_session_id
        return self._note(now)

    def _note(self, now: int) -> list[Said]:
        """What became known that the session's registration did not say; once."""
        path = self._reader.path if isinstance(self._reader, Tail) else ""
        note = (self.held_session_id or self._noted[0], path or self._noted[1])
        if note == self._noted:
            return []
        self._noted = note
        event = AgentEvent(EventKind.NOTE, now, agent_session_id=note[0], transcript=note[1])
        return [self._say(event, Source.PROCESS)]

    # The transcript

    async def _read_transcript(self) -> Sequence[AgentEvent]:
        try:
            if isinstance(self._reader, QueryReader):
                return await self._read_rows(self._reader)
            if self._reader:
                return self._read_lines(self._reader)
        except Unreadable as exc:
            self.transcript = Unknown(f"its transcript {exc}")
        except Exception as exc:  # an adapter stumbled over what the agent wrote: unknown, which keeps
            logger.exception("Cannot parse the transcript of session '%s', ignoring", self.session.id)
            self.transcript = Unknown(f"its transcript cannot be parsed: {type(exc).__name__}")
        else:
            self.transcript = Unknown("its transcript is not there") if self._place else None
        return ()

    def _read_lines(self, tail: Tail) -> Sequence[AgentEvent]:
        new, state = tail.read()
        events: Sequence[AgentEvent] = ()
        if new.restarted:
            self._parses = False
        if new.lines:
            self._parses = False  # should the adapter stumble
            records = self.adapter.records(new.lines)
            self._parses = records.is_complete
            events = _thin(records.events) if new.restarted else records.events
        self.transcript = replace(state, is_complete=state.is_complete and self._parses)
        return _dated(events, state.mtime)

    async def _read_rows(self, reader: QueryReader) -> Sequence[AgentEvent]:
        rows, state = await asyncio.to_thread(reader.read)
        records = self.adapter.records(rows)
        events = [event for event in records.events if event not in self._said]
        self._said = frozenset(records.events)
        self.transcript = replace(state, is_complete=state.is_complete and records.is_complete)
        return _dated(events, state.mtime)

    # The status

    def _read_status(self, now: int) -> AgentEvent | None:
        path = self._status_path()
        before = self.native
        if not path:
            self.native = None
            return None
        try:
            text = read_text(path, self.session.uid, STATUS_LIMIT)
            self.native = self.adapter.status(text, self.facts)
        except Unreadable as exc:
            self.native = Unknown(f"its status {exc}")
        except ValueError as exc:
            self.native = Unknown(f"its status '{path}' makes no sense: {exc}")
        except Exception as exc:
            logger.exception("Cannot parse the status of session '%s', ignoring", self.session.id)
            self.native = Unknown(f"its status cannot be parsed: {type(exc).__name__}")
        if isinstance(self.native, Unknown) or self.native == before:
            return None
        return AgentEvent(
            _SAYS[self.native.state],
            self.native.at or now,
            agent_session_id=self.native.agent_session_id,
            detail=self.native.state,
        )


def _dated(events: Sequence[AgentEvent], at: int) -> list[AgentEvent]:
    """Records without a stamp were written when the file was, at the latest."""
    return [event if event.at else replace(event, at=at) for event in events]


def _thin(events: Sequence[AgentEvent]) -> list[AgentEvent]:
    """Of a run of signs of work in an old transcript only the first and the last matter."""
    kept: list[AgentEvent] = []
    for event in events:
        if len(kept) > 1 and all(_is_mere_work(e, event) for e in (kept[-2], kept[-1], event)):
            kept[-1] = event
        else:
            kept.append(event)
    return kept


def _is_mere_work(event: AgentEvent, other: AgentEvent) -> bool:
    same = (event.subagent, event.agent_session_id) == (other.subagent, other.agent_session_id)
    return event.kind is EventKind.WORK and event.pending is None and same


def resolve(place: str) -> str | None:
    """The one file that fits (its name is UTF-8); None if there is none (yet), or several."""
    if os.path.lexists(place) or not glob.has_magic(place):
        return place
    fitting = [path for path in glob.glob(place) if path.encode(errors="replace").decode() == path]
    return fitting[0] if len(fitting) == 1 else None


def _stages(place: str) -> list[str]:
    """Patterns of names whose creation can bring the file: one for each part of the path with a wildcard."""
    folders: list[str] = ["/"]
    stages: list[str] = []
    for part in place.strip("/").split("/"):
        paths = [os.path.join(folder, part) for folder in folders]
        if not glob.has_magic(part):
            folders = paths
            continue
        stages += paths
        folders = [
            os.path.join(folder, name)
            for folder in map(os.path.dirname, paths)
            for name in glob.glob(part, root_dir=folder)
        ]
        folders = sorted(folders, key=_age)[:FOLDERS_LIMIT]
    return stages


def _age(folder: str) -> float:
    try:
        return -os.stat(folder).st_mtime
    except OSError:
        return 0.0
