"""What a caller says of a claim: parsed once, with all mistakes at once; and what an update makes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from musterd.core.claim import Budget, Claim, Phase
from musterd.core.errors import InvalidArgs
from musterd.core.spec import parsed

T = TypeVar("T")

MAX_TASK = 1024  # bytes
MAX_ITEMS = 64  # of a checklist, ticked ones apart
MAX_ITEM = 512  # bytes

_FOREVER = 2**63 - 1  # µs; what TOML and SQLite hold


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    """Keys of Claim(). An empty session is that of the caller."""

    session: str = ""
    task: str = ""
    budget: Budget = Budget.SMALL
    deadline: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys of UpdateClaim(); None says nothing."""

    phase: Phase | None = None
    task: str | None = None
    checklist: tuple[str, ...] | None = None
    done: tuple[str, ...] = ()


def parse_claim_spec(values: Mapping[str, object], now: int) -> ClaimSpec:
    spec = ClaimSpec(**parsed(values, _SPEC_KEYS))  # type: ignore[arg-type]  # as for parse_spec()
    if not spec.task:
        raise InvalidArgs("'task' is needed: say what is to be done")
    if 0 < spec.deadline <= now:
        raise InvalidArgs("'deadline' is in the past")
    return spec


def parse_changes(values: Mapping[str, object]) -> Changes:
    return Changes(**parsed(values, _CHANGE_KEYS))  # type: ignore[arg-type]  # as above


def changed(claim: Claim, changes: Changes, now: int) -> Claim:
    """The claim after an update. InvalidArgs for what cannot be undone, or is not on the list."""
    if claim.is_finished and changes.phase not in (None, claim.phase):
        raise InvalidArgs(f"Claim '{claim.id}' is {claim.phase}, and stays so; claim anew.")
    checklist = claim.checklist if changes.checklist is None else changes.checklist
    if unknown := [item for item in changes.done if item not in (*checklist, *claim.done)]:
        raise InvalidArgs(f"'{unknown[0][:64]}' is not on the checklist of claim '{claim.id}'.")
    ticked = tuple(item for item in dict.fromkeys(changes.done) if item not in claim.done)
    phase = changes.phase or claim.phase
    return replace(
        claim,
        task=changes.task or claim.task,
        phase=phase,
        checklist=tuple(item for item in dict.fromkeys(checklist) if item not in changes.done),
        done=(*claim.done, *ticked)[-MAX_ITEMS:],
        finished_usec=claim.finished_usec or (0 if phase is Phase.ACTIVE else now),
    )


def _line(limit: int) -> Callable[[object], str]:
    """One line of text for people and agents: control characters would forge others."""

    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("is not a string")
        if len(value.encode("utf-8", "surrogatepass")) > limit:
            raise ValueError(f"is longer than {limit} bytes")
        line = " ".join("".join(char if char.isprintable() else " " for char in value).split())
        if not line:
            raise ValueError("is empty")
        return line

    return parse


def _items(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("is not a list of strings")
    if len(value) > MAX_ITEMS:
        raise ValueError(f"has more than {MAX_ITEMS} items")
    return tuple(map(_line(MAX_ITEM), value))


def _one_of(kind: Callable[[str], T], words: Sequence[str]) -> Callable[[object], T]:
    def parse(value: object) -> T:
        if isinstance(value, str) and value in words:
            return kind(value)
        raise ValueError(f"is none of {', '.join(words)}")

    return parse


def _time(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _FOREVER:
        raise ValueError("is not a time in microseconds")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a string")
    return value


_SPEC_KEYS: dict[str, Callable[[object], object]] = {
    "session": _name,
    "task": _line(MAX_TASK),
    "budget": _one_of(Budget, [*Budget]),
    "deadline": _time,
}
_CHANGE_KEYS: dict[str, Callable[[object], object]] = {
    "phase": _one_of(Phase, [*Phase]),
    "task": _line(MAX_TASK),
    "checklist": _items,
    "done": _items,
}
