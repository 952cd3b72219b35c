"""Claims as the bus shows them: all that one may see; one by its id, or that of this shell's session."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from musterd.bus.names import SESSION

from . import sessions
from .client import Client
from .failure import CtlError
from .style import Style
from .table import Cell, Column, Row
from .text import ago

_ID = re.compile("c[0-9a-f]{8}")  # a whole one

KEYS = ("Claim", "Session", "Task", "Phase", "DeadlineUSec", "HoldsUsed", "HoldsAllowed")

_PHASES = {"active": Style.YELLOW, "done": Style.GREEN}


@dataclass(frozen=True, slots=True)
class Claim:
    id: str
    session: str
    task: str
    phase: str
    deadline: int  # realtime µs, 0 for none
    used: int  # how often its session was held for it
    allowed: int

    @property
    def is_active(self) -> bool:
        return self.phase == "active"

    @property
    def holds(self) -> str:
        return f"{self.used} of {self.allowed}"

    def as_dict(self) -> dict[str, object]:
        values = (self.id, self.session, self.task, self.phase, self.deadline, self.used, self.allowed)
        return dict(zip(KEYS, values, strict=True))


async def listed(client: Client, session_id: str = "") -> list[Claim]:
    """All that the caller may see, or those of one session, oldest first."""
    (rows,) = await client.gate("ListClaims")
    claims = [Claim(*row) for row in rows]
    return [claim for claim in claims if session_id in ("", claim.session)]


async def resolve(client: Client, text: str) -> str:
    """The id of the claim that is meant; "" is the only active one of this shell's session."""
    if not text:
        session_id, path = await sessions.resolve(client, ".")
        return _only(
            (await client.properties(SESSION, path))["Claims"],
            f"Session '{session_id}' has no active claim.",
            f"Session '{session_id}' has several active claims",
        )
    if _ID.fullmatch(text):
        return text  # a list may be too long to have it
    ids = [claim.id for claim in await listed(client)]
    fitting = [claim_id for claim_id in ids if claim_id.startswith(text)]
    return _only(fitting, f"There is no claim '{text}'.", f"'{text}' is the beginning of several ids")


def _only(ids: Sequence[str], none: str, several: str) -> str:
    if not ids:
        raise CtlError(none, "'musterctl claim list' shows the claims there are.")
    if len(ids) > 1:
        raise CtlError(f"{several}: {', '.join(ids[:6])}{', ...' if len(ids) > 6 else ''}.", "Name one.")
    return ids[0]


COLUMNS = (
    Column("CLAIM"),
    Column("SESSION"),
    Column("PHASE"),
    Column("HELD"),
    Column("DEADLINE"),
    Column("TASK", flexible=True),
)


def row(claim: Claim, now: int) -> Row:
    phase = Cell(claim.phase, _PHASES.get(claim.phase, Style.DIM))
    deadline = ago(claim.deadline, now) if claim.deadline else "-"
    return [claim.id, claim.session, phase, claim.holds, deadline, claim.task]
