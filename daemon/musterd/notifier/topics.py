"""What there is to tell, and what happens: facts that travel between the two buses."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a button asks for; the value is the key that the desktop sends back."""

    KEEP = "keep"
    END = "end"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a session, as its properties have them: nothing is cleaned yet."""

    id: str
    agent: str = ""
    title: str = ""
    cwd: str = ""
    memory: int = 0  # bytes
    is_resumable: bool = False


# What musterd says


@dataclass(frozen=True, slots=True)
class Prepare:
    id: str
    deadline: int  # realtime microseconds


@dataclass(frozen=True, slots=True)
class Cancelled:
    id: str
    gate: str


@dataclass(frozen=True, slots=True)
class Reaped:
    id: str
    freed: int  # bytes
    is_dry_run: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A session asked whether its turn may end, and was told so: not in shadow."""

    id: str
    verdict: str  # allow, block or exhausted


@dataclass(frozen=True, slots=True)
class Removed:
    """It left the roll, otherwise than by a reap."""

    id: str


@dataclass(frozen=True, slots=True)
class Disarmed:
    """The reaper does not trust itself any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReaperChanged:
    """Its settings may be others now."""


@dataclass(frozen=True, slots=True)
class MusterdArrived:
    """It owns its name: for the first time, again, or seen again after a loss of the bus."""


@dataclass(frozen=True, slots=True)
class MusterdLeft:
    """Nobody owns its name, or its bus is gone."""


# What the desktop says


@dataclass(frozen=True, slots=True)
class Invoked:
    number: int
    action: Action


@dataclass(frozen=True, slots=True)
class Closed:
    number: int


@dataclass(frozen=True, slots=True)
class DesktopArrived:
    """There is a notification service, maybe another one than before."""


@dataclass(frozen=True, slots=True)
class DesktopLeft:
    """All that it showed is gone."""


# What came of an order


@dataclass(frozen=True, slots=True)
class Answer:
    """An order of the user's was carried out, or why not."""

    id: str
    action: Action
    failure: str = ""
    fd: int | None = None  # of the hold; its owner is whoever takes this


@dataclass(frozen=True, slots=True)
class Kept:
    id: str
    until: int  # realtime microseconds


@dataclass(frozen=True, slots=True)
class Ended:
    id: str


@dataclass(frozen=True, slots=True)
class Resumed:
    id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """musterd did not do what a button asked for, in its words."""

    id: str
    action: Action
    why: str
    offered: tuple[Action, ...]  # may be tried again


# What we say ourselves


@dataclass(frozen=True, slots=True)
class Held:
    """It may not end its turn: the first time in a row."""

    id: str


@dataclass(frozen=True, slots=True)
class LetGo:
    """Its task is not done, and it cannot be held for it any more."""

    id: str


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A promise to keep it could not be renewed."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class More:
    """What was too much to be told one by one."""

    threatened: int = 0
    ended: int = 0
    pretended: int = 0  # dry-run
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """It is time to tell of what was too much."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The last event."""


News = Prepare | Reaped | Held | LetGo  # each may be one too many
Topic = (
    Prepare | Cancelled | Reaped | Disarmed | Kept | Ended | Resumed | Refused | Lapsed | Held | LetGo | More
)  # fmt: skip
Event = (
    Prepare | Cancelled | Reaped | Asked | Removed | ReaperChanged | MusterdArrived | MusterdLeft | Invoked
    | Closed | DesktopArrived | DesktopLeft | Answer | Due | Stop
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification, cleaned, not escaped."""

    summary: str
    body: str
    actions: tuple[Action, ...] = ()
    urgency: int = 1  # 0 low, 1 normal, 2 critical (Desktop Notifications Specification, "Urgency Levels")
    expires: int = -1  # milliseconds; 0 never, -1 as the desktop has it
