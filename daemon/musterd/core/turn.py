"""The turn of a session: folded from all that its agent said, in whatever order it arrives."""

from dataclasses import dataclass, replace

from musterd.core.event import AgentEvent, EventKind

MAX_SUBAGENTS = 128  # told apart: they are in the state file, too
_MORE = "more"


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
    first: int = 0  # the earliest start of work that was seen
    heard: int = 0  # the latest word of any kind
    turn_id: str = ""  # of the turn that started last, where the agent numbers them
    subagents: frozenset[str] = frozenset()
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


def fold(turn: Turn, event: AgentEvent) -> Turn:
    """Add one utterance, in whatever order they come. A subagent never ends its parent's turn."""
    if event.subagent and event.kind not in (EventKind.SUBAGENT_START, EventKind.SUBAGENT_END):
        return replace(turn, heard=max(turn.heard, event.at))
    change = _CHANGES.get(event.kind)
    turn = change(turn, event) if change else turn
    if event.pending is not None and event.at >= turn.heard:
        turn = replace(turn, pending=event.pending)
    return replace(turn, heard=max(turn.heard, event.at))


def _turn_start(turn: Turn, event: AgentEvent) -> Turn:
    turn_id = event.turn_id if event.at >= turn.started else turn.turn_id
    return replace(_work(turn, event), turn_id=turn_id)


def _work(turn: Turn, event: AgentEvent) -> Turn:
    answered = 0 if event.at > turn.waiting else turn.waiting
    first = min(turn.first or event.at, event.at)
    return replace(turn, started=max(turn.started, event.at), first=first, waiting=answered)


def _turn_end(turn: Turn, event: AgentEvent) -> Turn:
    if _is_of_an_earlier_turn(turn, event):
        return turn
    return replace(_answered(turn, event), ended=max(turn.ended, event.at))


def _settled(turn: Turn, event: AgentEvent) -> Turn:
    if _is_of_an_earlier_turn(turn, event):
        return turn
    # Subagents may go on in the background: only their own end ends them.
    ended = _recovered(_turn_end(turn, event), event)
    return replace(ended, settled=max(turn.settled, event.at))


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
    is_full = len(turn.subagents) >= MAX_SUBAGENTS
    return replace(turn, subagents=turn.subagents | {_MORE if is_full else event.subagent})


def _subagent_end(turn: Turn, event: AgentEvent) -> Turn:
    return replace(turn, subagents=turn.subagents - {event.subagent})


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
}
