"""What a notification says: plain words, of bounded size, and nothing that hides or reorders text."""

import posixpath
import unicodedata
from datetime import datetime

from musterd.core.units import USEC_PER_SEC, size, span

from .topics import (
    Action,
    Cancelled,
    Disarmed,
    Ended,
    Facts,
    Held,
    Kept,
    Lapsed,
    LetGo,
    More,
    Notice,
    Prepare,
    Reaped,
    Refused,
    Resumed,
    Topic,
)

LABELS = {Action.KEEP: "Keep", Action.END: "End now", Action.RESUME: "Resume"}

LOW, NORMAL, CRITICAL = 0, 1, 2
BRIEF = 10_000  # milliseconds; what needs no answer goes by itself
FOR_EVER = 0

NAME_LENGTH = 60  # characters
TEXT_LENGTH = 240

# Controls, formats (bidi overrides among them), surrogates, private use, unassigned.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))
_MARKS = frozenset(("Mn", "Me"))
_MAX_MARKS = 2  # on one letter; a tower of them covers other lines

# Why a session that was about to be ended goes on, by gate.
_GATES = {
    "turn": "it works again",
    "native": "it works again",
    "waiting": "it waits for an answer",
    "present": "somebody uses it",
    "screen": "its screen changed",
    "transcript": "its conversation goes on",
    "children": "something that it started runs",
    "protected": "it is protected",
    "inhibited": "it is held",
    "identity": "it ended by itself",
    "mode": "the reaper was switched off",
    "tier": "memory is not short any more",
}
_ORDERS = {Action.KEEP: "kept", Action.END: "ended", Action.RESUME: "resumed"}


def clean(text: str, length: int = TEXT_LENGTH) -> str:
    """One line of visible characters, cut at the end."""
    seen, marks = [], 0
    for char in text[: 8 * length]:  # what is longer needs no look
        category = unicodedata.category(char)
        marks = marks + 1 if category in _MARKS else 0
        if char.isspace():
            seen.append(" ")
        elif category not in _UNSAFE and marks <= _MAX_MARKS:
            seen.append(char)
    line = " ".join("".join(seen).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def name_of(facts: Facts) -> str:
    """What its user calls it: its title, else its directory."""
    name = clean(facts.title, NAME_LENGTH) or clean(posixpath.basename(facts.cwd), NAME_LENGTH)
    return f"“{name}”" if name else f"Session {clean(facts.id, NAME_LENGTH)}"


def word(topic: Topic, facts: Facts, now: int) -> Notice | None:
    """The notification; None when there is nothing to say any more. `now` in realtime microseconds."""
    who = name_of(facts)
    match topic:
        case Prepare():
            return _prepare(topic, facts, now)
        case Reaped():
            return _reaped(topic, facts)
        case Cancelled(gate=gate):
            why = _GATES.get(gate, f"“{clean(gate, NAME_LENGTH)}” keeps it")
            return Notice(f"{who} goes on", f"It is not ended: {why}.", (), LOW, BRIEF)
        case Kept(until=until):
            body = f"musterd-notify holds it until {_clock(until)}, as long as you are logged in."
            return Notice(f"{who} is kept", body, (), LOW, BRIEF)
        case Ended():
            return Notice(f"{who} was ended", "As you asked for.", _resume(facts), LOW)
        case Resumed():
            return Notice(f"{who} is back", "It goes on in its directory.", (), LOW, BRIEF)
        case Refused(action=action, why=why, offered=offered):
            return Notice(f"{who} was not {_ORDERS[action]}", clean(why), offered)
        case Lapsed(why=why):
            return Notice(f"{who} is not kept any more", clean(why))
        case Held():
            body = "It wanted to stop, but the task that it claimed is not done. See: musterctl claim"
            return Notice(f"{who} goes on", body, (), LOW, BRIEF)
        case LetGo():
            body = "The task that it claimed is not done, but it is held no longer. See: musterctl claim"
            return Notice(f"{who} stopped unfinished", body)
        case Disarmed(reason=reason):
            body = f"{clean(reason) or 'It does not say why.'} It ends nothing until you arm it again: "
            return Notice(
                "musterd stopped ending idle agents",
                body + "musterctl reaper mode on.",
                (),
                CRITICAL,
                FOR_EVER,
            )
        case More():
            return _more(topic)


def _prepare(topic: Prepare, facts: Facts, now: int) -> Notice | None:
    left = topic.deadline - now
    if left <= 0:
        return None
    what = f"{clean(facts.agent, NAME_LENGTH) or 'An agent'} in {_place(facts)}"
    has = f" ({size(facts.memory)})" if facts.memory else ""
    body = f"{what}{has} is idle, and memory is short. Keep holds it for an hour."
    seconds = -(-left // USEC_PER_SEC)
    summary = f"{name_of(facts)} will be ended in {span(seconds * USEC_PER_SEC)}"
    return Notice(summary, body, (Action.KEEP, Action.END), NORMAL, left // 1000)


def _reaped(topic: Reaped, facts: Facts) -> Notice:
    if topic.is_dry_run:
        body = f"{size(topic.freed)} of memory would have come back. This is a dry run: it goes on."
        return Notice(f"{name_of(facts)} would have been ended", body, (), LOW)
    back = f"{size(topic.freed)} of memory came back." if topic.freed else "It was idle, and memory short."
    how = " Resume brings it back where it was." if facts.is_resumable else ""
    return Notice(f"{name_of(facts)} was ended", back + how, _resume(facts))


def _resume(facts: Facts) -> tuple[Action, ...]:
    return (Action.RESUME,) if facts.is_resumable else ()


def _more(topic: More) -> Notice:
    count = topic.threatened + topic.ended + topic.pretended + topic.unfinished
    parts = [
        f"{number} {what}"
        for number, what in (
            (topic.threatened, "about to be ended"),
            (topic.ended, "ended"),
            (topic.pretended, "would have been ended (dry run)"),
            (topic.unfinished, "stopped unfinished"),
        )
        if number
    ]
    return Notice(f"{count} more", f"Sessions of agents: {', '.join(parts)}. See: musterctl events")


def _place(facts: Facts) -> str:
    return clean(posixpath.basename(facts.cwd), NAME_LENGTH) or "an unknown directory"


def _clock(usec: int) -> str:
    return f"{datetime.fromtimestamp(usec / USEC_PER_SEC).astimezone():%H:%M}"
