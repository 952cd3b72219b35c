"""The records of further conversations that one process has open, as its subagents': what they newly say."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from musterd.agents.base import Adapter
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Transcript, Unknown
from musterd.host.transcript import Lines, Tail, Unreadable

# Of one process; each has a file open, and one that has more is unknown.
CONVERSATIONS_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Page:
    """What one of them had to say."""

    id: str  # its agent session id
    tail: Tail  # behind what was read
    read: tuple[Lines, Transcript] | Unreadable


class Beside:
    """As a follower: `visit` in a worker thread, for a file may hang, then `take` in the loop."""

    def __init__(self, adapter: Adapter, uid: int) -> None:
        self._adapter = adapter
        self._uid = uid
        self._paths: Mapping[str, str] = {}
        self._tails: dict[str, Tail] = {}
        self._states: dict[str, Transcript | Unknown] = {}

    def hold(self, opened: Mapping[str, str], own: str, now: int) -> list[AgentEvent]:
        """These are open now, by their ids ("": a record that is not). What is closed does not go on."""
        before, self._paths = self._paths, {name: path for name, path in opened.items() if name != own}
        for name in before.keys() - self._paths.keys():
            self._tails.pop(name, None)
            self._states.pop(name, None)
        return [AgentEvent(EventKind.SESSION_END, now, name) for name in before if name not in opened]

    @property
    def is_read(self) -> bool:
        return self._states.keys() >= self._paths.keys()

    def visit(self) -> Sequence[Page]:
        wanted = list(self._paths.items())[:CONVERSATIONS_LIMIT]
        return [self._page(name, path) for name, path in wanted]

    def _page(self, name: str, path: str) -> Page:
        known = self._tails.get(name)
        tail = copy(known) if known and known.path == path else Tail(path, self._uid)
        try:
            return Page(name, tail, tail.read() if path else Unreadable("is not open"))
        except Unreadable as exc:
            return Page(name, tail, exc)

    def take(self, pages: Sequence[Page]) -> list[AgentEvent]:
        """What they newly said, oldest first."""
        return [event for page in pages if page.id in self._paths for event in self._take(page)]

    def _take(self, page: Page) -> list[AgentEvent]:
        self._tails[page.id] = page.tail
        if isinstance(page.read, Unreadable):
            self._states[page.id] = Unknown(f"the record of its conversation '{page.id[:64]}' {page.read}")
            return []
        new, state = page.read
        before = self._states.get(page.id)
        self._states[page.id] = Unknown(f"its conversation '{page.id[:64]}' cannot be parsed")
        records = self._adapter.records(new.lines) if new.lines else None
        parses = records.is_complete if records else isinstance(before, Transcript) and before.is_complete
        self._states[page.id] = replace(state, is_complete=state.is_complete and parses)
        said = [event for event in records.events if event.kind is not EventKind.NOTE] if records else []
        return [replace(event, agent_session_id=page.id, at=event.at or state.mtime) for event in said]

    def with_all(self, own: Transcript | Unknown | None) -> Transcript | Unknown | None:
        """The record of the process as a whole: it grows with each of them, and none may be unknown."""
        if not isinstance(own, Transcript):
            return own
        states = [
            self._states.get(name, Unknown("another conversation of it was not read yet"))
            for name in self._paths
        ]
        for state in states:
            if isinstance(state, Unknown):
                return state
            own = replace(
                own,
                size=own.size + state.size,
                mtime=max(own.mtime, state.mtime),
                is_complete=own.is_complete and state.is_complete,
            )
        return own
