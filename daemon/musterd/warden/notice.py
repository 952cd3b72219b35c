"""The terminal that a session is ended in: it stays, and says what happened and how to resume."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from musterd.core.session import Session
from musterd.core.units import size
from musterd.host.panes import Panes, Place
from musterd.host.process import read_stat
from musterd.host.say import printable, say
from musterd.host.table import Table
from musterd.host.terminal import parse_terminal
from musterd.host.tmux import Unanswered
from musterd.host.tty import path_here
from musterd.host.workers import Workers
from musterd.warden.composer import PAUSE, InTheWay, erase, type_keys
from musterd.warden.follower import Follower
from musterd.warden.prompt import waiting_shell
from musterd.warden.wayback import WayBack
from musterd.warden_port import Ending

logger = logging.getLogger(__name__)

NOTICE_PATIENCE = 5.0  # seconds for all that follows an end
TYPING_PATIENCE = 4.0  # seconds for what is typed into an agent
PROMPT_PATIENCE = 2.0  # seconds until a shell has its terminal back

# $1 its directory, $2 the text, then the order that resumes it: all are data.
# A resume starts the agent in this pane, in place of this script; one that fails must be readable.
_SCRIPT = """
cd -- "$1" 2>/dev/null
printf '%s\\n' "$2"
shift 2
while :; do
    modes=$(stty -g) && stty raw -echo
    key=$(dd bs=1 count=1 2>/dev/null)
    stty "$modes"
    [ "$key" = r ] || break
    "$@" && exit
done
exec "${SHELL:-/bin/sh}"
"""
_NAME = "musterd-notice"

_WHY = {"reaped": "it was idle, and memory ran short", "terminated": "somebody ordered it"}


@dataclass(frozen=True, slots=True)
class Seat:
    """The pane of a session, when it was still there."""

    panes: Panes
    place: Place
    uid: int
    is_its_own: bool  # the agent is what tmux started in it: without it, the pane is empty
    remain_on_exit: str = ""  # option of the pane, as it was


class Notices:
    """For one user's terminals. Whatever fails here is no failure of an end: it is logged."""

    def __init__(self, uid: int, way_back: WayBack) -> None:
        self._uid = uid
        self._way_back = way_back
        self._workers = Workers()

    async def device(self, terminal: str) -> str:
        """The device of a session's terminal; "" if it cannot be told."""
        known = parse_terminal(terminal)
        if known is None:
            return terminal if terminal.startswith("/dev/") else ""
        try:
            place = await Panes(known[0], self._uid).place(known[1])
        except Unanswered:
            return ""
        return place.tty if place else ""

    # Before

    async def prepare(self, follower: Follower, table: Table) -> Seat | None:
        """Make its pane stay when it ends; None if it is in no pane."""
        known = parse_terminal(follower.session.terminal)
        leader = table.find(follower.process)
        if known is None or leader is None:
            return None
        panes = Panes(known[0], self._uid)
        try:
            place = await panes.place(known[1])
            # Panes are numbered anew by each server: this must be the one that has its terminal.
            if place is None or place.tty != path_here(leader.pid, leader.tty):
                return None
            mine = {leader.pid, follower.launcher.pid if follower.launcher else leader.pid}
            if place.pid not in mine:
                return Seat(panes, place, self._uid, is_its_own=False)
            before = await panes.run(["show-options", "-p", "-v", "-t", place.pane, "remain-on-exit"])
            await panes.run(["set-option", "-p", "-t", place.pane, "remain-on-exit", "on"])
            return Seat(panes, place, self._uid, is_its_own=True, remain_on_exit=before.strip())
        except Unanswered as exc:
            logger.debug("Session '%s' ends without a notice: %s", follower.session.id, exc)
            return None

    async def drop(self, seat: Seat | None) -> None:
        """It did not end: its pane is as it was."""
        if seat and seat.is_its_own:
            try:
                await seat.panes.run(_as_before(seat))
            except Unanswered as exc:
                logger.debug("Pane '%s' stays as it is: %s", seat.place.pane, exc)

    async def type_keys(self, seat: Seat, follower: Follower, keys: Sequence[str]) -> bool:
        """Type these into the agent itself, if its composer is empty; whether all were typed.

        InTheWay if somebody else types there, or nobody can tell.
        """
        try:
            async with asyncio.timeout(TYPING_PATIENCE):
                return await type_keys(seat.panes, seat.place.pane, follower, keys)
        except asyncio.CancelledError:  # musterd stops
            await self.erase_keys(follower, keys)
            raise
        except (Unanswered, OSError) as exc:  # TimeoutError is one of the latter
            await self.erase_keys(follower, keys)
            raise InTheWay(f"pane '{seat.place.pane}' does not show what is typed: {exc}") from exc

    async def erase_keys(self, follower: Follower, keys: Sequence[str]) -> None:
        """What was typed to end it, and not sent: as a draft it would keep the session for ever."""
        known = parse_terminal(follower.session.terminal)
        typed = "".join(key for key in keys if key != "Enter")
        if known is None or not typed:
            return
        try:
            async with asyncio.timeout(TYPING_PATIENCE):
                await erase(Panes(known[0], self._uid), known[1], follower, typed)
        except (Unanswered, OSError) as exc:
            logger.debug("Nothing is erased in pane '%s': %s", known[1], exc)

    # After

    async def tell(self, seat: Seat | None, session: Session, ending: Ending) -> None:
        """Say what happened, and offer the way back."""
        if seat is None:
            return
        try:
            async with asyncio.timeout(NOTICE_PATIENCE):
                if seat.is_its_own:
                    await _tell_in_pane(seat, session, ending, self._way_back)
                else:
                    await _tell_shell(seat, session, ending, self._way_back, self._workers)
        except (Unanswered, OSError) as exc:
            logger.debug("No notice in pane '%s': %s", seat.place.pane, exc)


async def _tell_in_pane(seat: Seat, session: Session, ending: Ending, way_back: WayBack) -> None:
    """In place of the agent: a small program that waits for a key."""
    pane = seat.place.pane
    while (place := await seat.panes.place(pane)) and not place.is_dead:
        if place.pid != seat.place.pid or _is_running(place.pid):
            return  # somebody else was faster, or what is left of it has the pane
        await asyncio.sleep(PAUSE)
    if place is None:
        return
    text = notice(session, ending, time.time())
    words = (session.cwd, text, *way_back.order(session.id))
    command = ["respawn-pane", "-k", "-t", pane, "--", "/bin/sh", "-c", _SCRIPT, _NAME, *words]
    await seat.panes.run(command, _as_before(seat))


async def _tell_shell(
    seat: Seat, session: Session, ending: Ending, way_back: WayBack, workers: Workers
) -> None:
    """Above the prompt of the shell that it was started from; behind the prompt, the way back."""
    loop, panes, pane = asyncio.get_running_loop(), seat.panes, seat.place.pane
    deadline = loop.time() + PROMPT_PATIENCE
    shell = await waiting_shell(panes, pane, workers)
    while shell is None and loop.time() < deadline and await panes.place(pane):  # it is not in front yet
        await asyncio.sleep(PAUSE)
        shell = await waiting_shell(panes, pane, workers)
    place = await panes.place(pane)
    if shell and place and place.tty == seat.place.tty:
        make_offer = partial(way_back.offer, session.id, shell)
        offer = await workers.do(f"pane {pane}", make_offer) if session.is_resumable else ""
        line = one_line(session, ending, offer, time.time())
        await workers.do(f"pane {pane}", partial(say, place.tty, seat.uid, line))
        if offer:
            await panes.run(["send-keys", "-t", pane, "-l", "--", offer])


def _is_running(pid: int) -> bool:
    try:
        return not read_stat(pid).has_ended
    except (ProcessLookupError, ValueError):
        return False


def _as_before(seat: Seat) -> list[str]:
    option = ["-t", seat.place.pane, "remain-on-exit"]
    before = seat.remain_on_exit
    return ["set-option", "-p", *option, before] if before else ["set-option", "-p", "-u", *option]


# The words


def notice(session: Session, ending: Ending, now: float) -> str:
    facts = {
        "session": " ".join(filter(None, (session.id, session.title))),
        "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(now)),
        "why": _why(session),
        "memory": f"{size(ending.freed)} given back",
        "left": "; ".join(ending.left),
    }
    lines = [f"  {name:<10}{printable(text)}" for name, text in facts.items() if text]
    way = "r to resume it, any other key" if session.is_resumable else "a key"
    head = f"musterd ended {session.agent} in this pane."
    return "\n".join(["", head, "", *lines, "", f"Press {way} for a shell."])


def one_line(session: Session, ending: Ending, offer: str, now: float) -> str:
    at = time.strftime("%H:%M", time.localtime(now))
    way = f"; {offer}" if offer else ""
    return (
        f"musterd ended session {session.id} at {at}: {_why(session)}; {size(ending.freed)} given back{way}"
    )


def _why(session: Session) -> str:
    return _WHY.get(session.ending, session.ending)
