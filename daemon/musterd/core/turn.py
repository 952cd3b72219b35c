"""The turn of a session: folded from all that its agent said, in whatever order it arrives."""

from dataclasses import dataclass, replace
from uuid import UUID

from musterd.core.event import AgentEvent, EventKind

MAX_SUBAGENTS = 128  # told apart: they are in the state file, too
_MORE = "more"


@dataclass(frozen=True, slots=True)
class Subagent:
    id: str
    heard: int  # the latest word of it, realtime µs
    is_overdue: bool = False  # its parent has begun and ended a later turn without a word of it


@dataclass(frozen=True, slots=True)
class Turn:
    """When work last began and ended, by the agent's own word. Realtime microseconds; 0 means never."""

    started: int = 0  # the latest start of, or sign of, work
    ended: int = 0  # the latest end of a turn, proof or not
    settled: int = 0  # the latest positive end of a turn
    waiting: int = 0  # a human was asked, and has not answered since
    answered: int = 0  # the latest answer of the human
    recovering: int = 0  # a compaction, back-off or retry began, and has not ended since
    recovered: int = 0  # the latest end of one
    cut: int = 0  # the latest turn that its user or an error of its model ended
    left: int = 0  # the latest word that this conversation is over; some say so of a subagent's, too
    first: int = 0  # the earliest start of work that was seen
    heard: int = 0  # the latest word of any kind
    turn_id: str = ""  # of the turn that started last, where the agent numbers them
    settled_id: str = ""  # of the turn that settled last
    subagents: tuple[Subagent, ...] = ()  # that have not said that they ended
    pending: tuple[str, ...] = ()  # background work the agent named when it last stopped

    @property
    def last_word(self) -> int:
        return max(self.started, self.ended, self.settled, self.waiting, self.heard)

    @property
    def is_working(self) -> bool:
        """At the same instant, work wins over its end."""
        return self.started > 0 and self.started >= max(self.ended, self.settled)

    @property
    def is_settled(self) -> bool:
        return self.settled > self.started

    @property
    def is_at_rest(self) -> bool:
        return not (self.is_working or self.waiting or self.recovering or self.subagents or self.pending)

    def has_subagent(self, name: str) -> bool:
        return any(subagent.id == name for subagent in self.subagents)


def fold(turn: Turn, event: AgentEvent) -> Turn:
    """Add one utterance, in whatever order they come. A subagent never ends its parent's turn."""
    if event.subagent and event.kind not in (EventKind.SUBAGENT_START, EventKind.SUBAGENT_END):
        return replace(_subagent_word(turn, event), heard=max(turn.heard, event.at))
    change = _CHANGES.get(event.kind)
    turn = change(turn, event) if change else turn
    if event.pending is not None and event.at >= turn.heard:
        turn = replace(turn, pending=event.pending)
    if event.is_cut:
        turn = replace(turn, cut=max(turn.cut, event.at))
    return replace(turn, heard=max(turn.heard, event.at))


def _turn_start(turn: Turn, event: AgentEvent) -> Turn:
    is_latest = event.at >= turn.started and not _is_older(event, turn.turn_id)
    return replace(_work(turn, event), turn_id=event.turn_id if is_latest else turn.turn_id)


def _is_older(event: AgentEvent, known: str) -> bool:
    """By ids that tell their time: a hook that is late is told with the time at which it came."""
    began, latest = _made(event.turn_id), _made(known)
    return 0 < began < latest <= event.at  # a clock that was set back puts the latest into the future


def _made(turn_id: str) -> int:
    """When an id was made, realtime µs, if it is a UUID of version 7 (RFC 9562, 5.7); else 0."""
    try:
        made = UUID(turn_id)
    except ValueError:
        return 0
    return (made.int >> 80) * 1000 if made.version == 7 else 0


def _work(turn: Turn, event: AgentEvent) -> Turn:
    if event.turn_id and event.turn_id == turn.settled_id:
        return turn  # a hook that is late is told with the time at which it came
    answered = 0 if event.at > turn.waiting else turn.waiting
    first = min(turn.first or event.at, event.at)
    return replace(turn, started=max(turn.started, event.at), first=first, waiting=answered)


def _turn_end(turn: Turn, event: AgentEvent) -> Turn:
    if _is_of_an_earlier_turn(turn, event):
        return turn
    if event.turn_id and (event.turn_id, event.at) == (turn.turn_id, turn.started):
        turn = replace(turn, started=turn.started - 1)  # its own start: within one tick of its agent's clock
    return replace(_answered(turn, event), ended=max(turn.ended, event.at))


def _settled(turn: Turn, event: AgentEvent) -> Turn:
    if _is_of_an_earlier_turn(turn, event):
        return turn
    ended = _recovered(_turn_end(_with_overdue(turn, event), event), event)
    is_latest = event.turn_id and event.at >= turn.settled
    settled_id = event.turn_id if is_latest else turn.settled_id
    return replace(ended, settled=max(turn.settled, event.at), settled_id=settled_id)


def _with_overdue(turn: Turn, event: AgentEvent) -> Turn:
    """Subagents may go on in the background, so a turn does not end them. But the word of their end may be
    lost: whoever was silent through a whole later turn is marked, for the gate to judge."""
    is_later_turn = 0 < turn.settled < turn.started < event.at
    if not is_later_turn or not turn.subagents:
        return turn
    return replace(turn, subagents=tuple(_overdue(s, turn.settled) for s in turn.subagents))


def _overdue(subagent: Subagent, since: int) -> Subagent:
    return replace(subagent, is_overdue=True) if subagent.heard < since else subagent


def _session_end(turn: Turn, event: AgentEvent) -> Turn:
    return replace(turn, left=max(turn.left, event.at))


def closed(turn: Turn) -> Turn:
    """The turn of a conversation in whose place is another one: if it was left, nothing of it goes on."""
    if turn.left <= turn.started:
        return turn
    return replace(turn, ended=max(turn.ended, turn.left), waiting=0, recovering=0, subagents=(), pending=())


def _is_of_an_earlier_turn(turn: Turn, event: AgentEvent) -> bool:
    """Hooks run beside the agent: the end of one turn may reach us after the start of the next."""
    return bool(event.turn_id and turn.turn_id and event.turn_id != turn.turn_id)


def _waiting(turn: Turn, event: AgentEvent) -> Turn:
    if event.at < max(turn.answered, turn.started, turn.ended, turn.settled):
        return turn  # answered since: the question is told late
    return replace(turn, waiting=max(turn.waiting, event.at))


def _answer(turn: Turn, event: AgentEvent) -> Turn:
    return replace(_answered(turn, event), answered=max(turn.answered, event.at))


def _answered(turn: Turn, event: AgentEvent) -> Turn:
    return replace(turn, waiting=0) if event.at >= turn.waiting else turn


def _subagent_start(turn: Turn, event: AgentEvent) -> Turn:
    if turn.has_subagent(event.subagent):
        return _subagent_word(turn, event)
    if len(turn.subagents) >= MAX_SUBAGENTS:
        if turn.has_subagent(_MORE):
            return _subagent_word(turn, replace(event, subagent=_MORE))
        event = replace(event, subagent=_MORE)
    return replace(turn, subagents=(*turn.subagents, Subagent(event.subagent, event.at)))


def _subagent_word(turn: Turn, event: AgentEvent) -> Turn:
    name = event.subagent if turn.has_subagent(event.subagent) else _MORE
    return replace(
        turn, subagents=tuple(_spoken(s, event.at) if s.id == name else s for s in turn.subagents)
    )


def _spoken(subagent: Subagent, at: int) -> Subagent:
    return replace(subagent, heard=at, is_overdue=False) if at > subagent.heard else subagent


def _subagent_end(turn: Turn, event: AgentEvent) -> Turn:
    return replace(turn, subagents=tuple(s for s in turn.subagents if s.id != event.subagent))


def _recovering(turn: Turn, event: AgentEvent) -> Turn:
    if event.at < max(turn.recovered, turn.settled):
        return turn
    return replace(turn, recovering=max(turn.recovering, event.at))


def _recovery_end(turn: Turn, event: AgentEvent) -> Turn:
    return replace(_recovered(turn, event), recovered=max(turn.recovered, event.at))


def _recovered(turn: Turn, event: AgentEvent) -> Turn:
    return replace(turn, recovering=0) if event.at >= turn.recovering else turn


_CHANGES = {
    EventKind.TURN_START: _turn_start,
    EventKind.WORK: _work,
    EventKind.TURN_END: _turn_end,
    EventKind.SETTLED: _settled,
    EventKind.WAITING: _waiting,
    EventKind.ANSWERED: _answer,
    EventKind.SUBAGENT_START: _subagent_start,
    EventKind.SUBAGENT_END: _subagent_end,
    EventKind.RECOVERY_START: _recovering,
    EventKind.RECOVERY_END: _recovery_end,
    EventKind.SESSION_END: _session_end,
}
