"""One watched session: its process, its transcript and its status, and what they newly say."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace

from musterd.agents.base import Adapter, ProcessFacts
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Native, NativeState, Transcript, Unknown
from musterd.core.session import PidRef, Session, Source
from musterd.host.files import APPEARED, Files, Subscription
from musterd.host.query import QueryReader
from musterd.host.transcript import Lines, Tail, Unreadable
from musterd.host.watch import ExitWatch
from musterd.warden.beside import Beside
from musterd.warden.guard import Mistakes
from musterd.warden.visit import (
    Reader,
    Survey,
    Visit,
    count_queued,
    open_reader,
    paths_of,
    read_from,
    read_status,
    resolve,
    stages_of,
)
from musterd.warden_port import Said

logger = logging.getLogger(__name__)


_SAYS = {
    NativeState.IDLE: EventKind.SETTLED,
    NativeState.BUSY: EventKind.WORK,
    NativeState.SHELL: EventKind.WORK,
    NativeState.WAITING: EventKind.WAITING,
}


class Follower:
    """Its files are visited in two steps: `visit` in a worker thread, then `take` in the loop.

    `changed` is called whenever a visit may bring something new. Between the two nobody else may begin.
    """

    def __init__(
        self,
        session: Session,
        adapter: Adapter,
        facts: ProcessFacts,
        home: str,
        exit_watch: ExitWatch,
        files: Files,
        changed: Callable[["Follower"], None],
        mistakes: Mistakes,
    ) -> None:
        self.session = session
        self.adapter = adapter
        self.facts = facts
        self.exit_watch = exit_watch
        self.launcher: PidRef | None = None
        self.native: Native | Unknown | None = None
        self.queued: int | Unknown | None = None
        self.held_session_id = ""  # by a file that it has open or locked
        self._own: Transcript | Unknown | None = None  # the record of its current conversation
        self._beside = Beside(adapter, session.uid)
        self._home = home
        self._files = files
        self._changed = changed
        self._mistakes = mistakes
        self._subscriptions: list[Subscription] = []
        self._reader: Reader | None = None
        self._wish = 1
        self._survey = Survey(0, None, None, "", ())
        self._parses = False
        self._said: frozenset[AgentEvent] = frozenset()  # by a query: it brings old rows again
        self._noted: tuple[str, str] = (session.agent_session_id, session.transcript)

    @property
    def is_query(self) -> bool:
        return isinstance(self._reader, QueryReader)

    @property
    def transcript(self) -> Transcript | Unknown | None:
        return self._beside.with_all(self._own)

    @property
    def process(self) -> PidRef:
        return self.exit_watch.process

    def renew(self, session: Session) -> None:
        """Take a new value of the session: a transcript or an agent session id may have become known."""
        self.session = session
        self._noted = (session.agent_session_id, session.transcript)
        self._seek()

    def close(self) -> None:
        self.exit_watch.close()
        self._unsubscribe()

    def arrange(self) -> None:
        """Find the files anew at the next visit."""
        self._wish += 1

    def _seek(self) -> None:
        self.arrange()
        self._changed(self)

    # In a worker thread, for it may hang: nothing of the follower is changed.

    def visit(self) -> Visit:
        survey = self._look_around() if self._wish != self._survey.wish else None
        is_known = survey is None or survey.found == self._survey.found
        found, uid = survey.found if survey else None, self.session.uid
        reader = copy(self._reader) if is_known else open_reader(found, uid)
        status = survey.status if survey else self._status_path()
        queue = self.adapter.queue(self.session, self._home, self.facts.environ)
        return Visit(
            survey,
            reader,
            read_from(reader),
            read_status(status, uid),
            count_queued(queue, uid),
            self._beside.visit(),
        )

    def _look_around(self) -> Survey:
        wish, place = self._wish, self.adapter.transcript(self.session, self._home, self.facts.environ)
        found = resolve(place) if isinstance(place, str) else place
        stages = stages_of(place) if isinstance(place, str) and not found else ()
        survey = Survey(wish, place, found, self._status_path(), stages)
        for path in paths_of(survey):
            os.path.exists(os.path.dirname(path))  # whoever watches it must not hang on it, either
        return survey

    def _status_path(self) -> str:
        return self.adapter.status_file(self.session, self._home, self.facts.environ)

    # In the loop

    def take(self, visit: Visit | Exception, now: int) -> list[Said]:
        """What the session newly said, oldest first; the rest of what it has is as of the visit."""
        if isinstance(visit, Exception):
            why = self._mistakes.why(self.adapter, visit)
            self._own = self.native = self.queued = Unknown(f"its files cannot be read: {why}")
            return self._note(now)
        if visit.survey:
            self._settle(visit.survey)
        self._reader = visit.reader
        self.queued = (
            Unknown(f"its queue {visit.queued}") if isinstance(visit.queued, Unreadable) else visit.queued
        )
        said = [self._say(event, Source.TRANSCRIPT) for event in self._take_transcript(visit)]
        said += [self._say(event, Source.TRANSCRIPT) for event in self._take_beside(visit)]
        if event := self._take_status(visit, now):
            said.append(self._say(event, Source.NATIVE))
        return [*self._note(now), *said]

    def _settle(self, survey: Survey) -> None:
        """Be told of the changes of these files."""
        before, self._survey = self._survey, survey
        if before.found != survey.found:
            self._parses, self._said = False, frozenset()
        if before.key == survey.key and (survey.found or not survey.place):
            return
        self._subscribe(survey)
        if before.key != survey.key:
            self._seek()  # something may have come before we listened

    def _subscribe(self, survey: Survey) -> None:
        self._unsubscribe()
        for path in paths_of(survey):
            self._listen(path, is_pattern=path in survey.stages)

    def _listen(self, path: str, *, is_pattern: bool = False) -> None:
        try:
            if is_pattern:
                subscribe = self._files.subscribe(path, self._seek, APPEARED, is_pattern=True)
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

    def _say(self, event: AgentEvent, source: Source) -> Said:
        return Said(self.session.id, event, source)

    def holds(self, agent_session_id: str, transcripts: Mapping[str, str], now: int) -> list[Said]:
        """Its open files say which conversation it holds, and what records of all of them."""
        self.held_session_id = agent_session_id
        noted = self._note(now)
        ended = self._beside.hold(transcripts if self._noted[0] else {}, self._noted[0], now)
        if not self._beside.is_read:
            self._changed(self)
        return [*noted, *(self._say(event, Source.PROCESS) for event in ended)]

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

    def _take_transcript(self, visit: Visit) -> Sequence[AgentEvent]:
        if isinstance(visit.read, Unreadable):
            self._own = Unknown(f"its transcript {visit.read}")
            return ()
        if visit.read is None:
            self._own = Unknown("its transcript is not there") if self._survey.place else None
            return ()
        new, state = visit.read
        try:
            return self._take_lines(new, state) if isinstance(new, Lines) else self._take_rows(new, state)
        except Exception as exc:  # noqa: BLE001 - an adapter stumbled over what the agent wrote: unknown, which keeps
            why = self._mistakes.why(self.adapter, exc)
            self._own = Unknown(f"its transcript cannot be parsed: {why}")
            return ()

    def _take_beside(self, visit: Visit) -> Sequence[AgentEvent]:
        try:
            return self._beside.take(visit.beside)
        except Exception as exc:  # noqa: BLE001 - as for the transcript
            logger.debug("%s", self._mistakes.why(self.adapter, exc))
            return ()

    def _take_lines(self, new: Lines, state: Transcript) -> Sequence[AgentEvent]:
        events: Sequence[AgentEvent] = ()
        if new.restarted:
            self._parses = False
        if new.lines:
            self._parses = False  # should the adapter stumble
            records = self.adapter.records(new.lines)
            self._parses = records.is_complete
            events = _thin(records.events) if new.restarted else records.events
        self._own = replace(state, is_complete=state.is_complete and self._parses)
        return _dated(events, state.mtime)

    def _take_rows(self, rows: tuple[str, ...], state: Transcript) -> Sequence[AgentEvent]:
        records = self.adapter.records(rows)
        events = [event for event in records.events if event not in self._said]
        self._said = frozenset(records.events)
        self._own = replace(state, is_complete=state.is_complete and records.is_complete)
        return _dated(events, state.mtime)

    # The status

    def _take_status(self, visit: Visit, now: int) -> AgentEvent | None:
        before, self.native = self.native, self._native(visit.status)
        if self.native is None or isinstance(self.native, Unknown) or self.native == before:
            return None
        return AgentEvent(
            _SAYS[self.native.state],
            self.native.at or now,
            agent_session_id=self.native.agent_session_id,
            detail=self.native.state,
        )

    def _native(self, text: str | Unreadable | None) -> Native | Unknown | None:
        if text is None:
            return None
        if isinstance(text, Unreadable):
            return Unknown(f"its status {text}")
        try:
            return self.adapter.status(text, self.facts)
        except ValueError as exc:
            return Unknown(f"its status '{self._survey.status}' makes no sense: {exc}")
        except Exception as exc:  # noqa: BLE001 - as for the transcript
            return Unknown(f"its status cannot be parsed: {self._mistakes.why(self.adapter, exc)}")


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
