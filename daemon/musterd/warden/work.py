"""What a session has not finished when its turn would end."""

import asyncio
import os
import re
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from musterd.bus.names import BUS_NAME
from musterd.core.errors import reason
from musterd.core.evidence import Child, Unknown, Work
from musterd.core.seen import is_helper
from musterd.core.session import Session
from musterd.host.git import Untold, uncommitted
from musterd.host.process import Stat
from musterd.host.table import FactsCache
from musterd.warden.check import Unclear, check

CHILDREN_LIMIT = 20  # names of children that are told

# An agent starts all its hooks of one event together: none of them more ticks than that before ours.
_TOGETHER = 20

_CTL = ("musterctl", "musterd.ctl")
_SHELL = re.compile(r"-?(?:ba|da|z)?sh")
_WORDS = 16  # of a command line that are looked at

Found = TypeVar("Found")
Look = Callable[[], Awaitable[Sequence[Child] | Unknown]]


async def work(session: Session, check_command: Sequence[str], seconds: float, children: Look) -> Work:
    """As warden_port.Warden.work; `children` looks for those of this moment that did not come to ask."""
    inquiry = _Inquiry(seconds)
    try:
        async with asyncio.TaskGroup() as tasks:  # gather() may leave some behind when cancelled
            names = tasks.create_task(inquiry.ask("its processes", _names(session, children), ()))
            files = tasks.create_task(inquiry.ask("its directory", _files(session), None))
            reason = tasks.create_task(inquiry.ask("the check", _reason(session, check_command), ""))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return Work(names.result(), files.result(), reason.result(), tuple(inquiry.unknown))


@dataclass(slots=True)
class _Inquiry:
    seconds: float
    unknown: list[str] = field(default_factory=list)

    async def ask(self, what: str, asked: Awaitable[Found], otherwise: Found) -> Found:
        """What it says, or `otherwise`, and why."""
        try:
            async with asyncio.timeout(self.seconds):
                return await asked
        except TimeoutError:
            self.unknown.append(f"{what}: no answer within {self.seconds:g} s")
        except (Untold, Unclear) as exc:
            self.unknown.append(str(exc))
        except OSError as exc:
            self.unknown.append(f"{what}: {reason(exc)}")
        return otherwise


async def _names(session: Session, children: Look) -> tuple[str, ...]:
    seen = await children()
    if isinstance(seen, Unknown):
        raise Untold(seen.why)
    return tuple(child.name for child in seen if not is_helper(child, session))[:CHILDREN_LIMIT]


async def _files(session: Session) -> int | None:
    if not session.cwd:
        raise Untold("its directory is not known")
    return await uncommitted(session.cwd, session.uid)


async def _reason(session: Session, command: Sequence[str]) -> str:
    return await check(session, command) if command else ""


def without_hooks(rows: Sequence[Stat], facts: FactsCache) -> list[Stat]:
    """Without those that an agent starts to ask whether its turn may end: our hook, and others beside it.

    At the end of a turn an agent starts nothing but hooks, and ours is one of the first.
    """
    asked = min((row.start_ticks for row in rows if _is_hook(row, facts)), default=None)
    if asked is None:
        return list(rows)
    return [row for row in rows if row.start_ticks < asked - _TOGETHER]


def _is_hook(row: Stat, facts: FactsCache) -> bool:
    seen = facts.get(row)
    if seen is None or not seen.argv:
        return False
    words = _command(seen.argv)[:_WORDS]
    names = {os.path.basename(word) for word in words[:3]}  # behind an interpreter and its option
    return (
        "musterd-hook" in names
        or (not names.isdisjoint(_CTL) and "hook" in words)
        or ("busctl" in names and BUS_NAME in words)
    )


def _command(argv: Sequence[str]) -> Sequence[str]:
    """What a shell was given to run, as an agent does it with its hooks; else the command line itself."""
    if len(argv) < 3 or not _SHELL.fullmatch(os.path.basename(argv[0])) or argv[1] not in ("-c", "-lc"):
        return argv
    try:
        return shlex.split(argv[2])
    except ValueError:
        return argv
