"""Why a turn should go on, in the words that the agent reads: what its claims and its work leave open."""

from collections.abc import Iterator, Sequence

from musterd.core.claim import Claim
from musterd.core.evidence import Work

# Characters of all reasons together: they are told, written into the history, and kept with each claim.
# Claude Code cuts what a hook says at 10,000.
MAX_TEXT = 4096
MAX_REASON = 1024  # characters of one that is not ours
MAX_LIST = 1024  # characters of a checklist
MAX_SHOWN = 10  # items of one list


def why_not(claims: Sequence[Claim], work: Work | None) -> tuple[str, ...]:
    """As much of it as is told: reasons that differ in the rest only are the same to an agent."""
    reasons, room = [], MAX_TEXT
    for reason in (*_of_claims(claims), *_of_work(work)):
        reasons.append(reason[:room])
        room -= len(reasons[-1])
        if not room:
            break
    return tuple(reasons)


def _of_claims(claims: Sequence[Claim]) -> Iterator[str]:
    for claim in claims:
        yield f"the task '{claim.task}' (claim {claim.id}) is {claim.phase}, not done"
        if claim.checklist:
            yield f"open on its checklist: {_list(claim.checklist)[:MAX_LIST]}"


def _of_work(work: Work | None) -> Iterator[str]:
    if work is None:
        return
    if work.uncommitted:
        files = "file" if work.uncommitted == 1 else "files"
        yield f"uncommitted work: {work.uncommitted} {files}"
    if work.children:
        yield f"still running: {_plain(_list(work.children))}"
    if work.check:
        yield f"the check says: {_plain(work.check)}"


def _plain(text: str) -> str:
    """Of what programs print and are called: nothing that an agent or a terminal could take for more."""
    return "".join(char if char.isprintable() else "?" for char in text.strip())[:MAX_REASON]


def _list(items: Sequence[str]) -> str:
    more = f" and {len(items) - MAX_SHOWN} more" if len(items) > MAX_SHOWN else ""
    return ", ".join(items[:MAX_SHOWN]) + more
