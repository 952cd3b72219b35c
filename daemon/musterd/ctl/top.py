"""`top`: the roll as it changes: on a terminal a picture that redraws itself, elsewhere a line a change."""

import asyncio
import os
import shutil
import sys
import termios
import time
import tty
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import roll, sessions
from .client import MANAGER, REAPER, Client, Properties
from .failure import NoDaemon
from .status import pressure_lines, reaper_line
from .style import STATES, Style, paint
from .table import room
from .text import printable, size
from .watch import watching

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the terminal's second screen, no cursor, long lines are cut
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
KEYS = "q ends."


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown: all of it from one moment."""

    manager: Properties
    reaper: Properties
    sessions: list[Properties]


async def run(client: Client, args: Namespace) -> None:
    is_live = sys.stdin.isatty() and sys.stdout.isatty()
    await _live(client, args.interval) if is_live else await _plain(client, args.interval)


async def _look(client: Client) -> Picture:
    manager = await client.properties(MANAGER)
    return Picture(manager, await client.properties(REAPER), await sessions.look(client))


# On a terminal


async def _live(client: Client, interval: int) -> None:
    picture = await _look(client)  # fails before the screen is touched
    async with watching(client) as watch:
        ended = asyncio.Event()
        with _screen():
            asyncio.get_running_loop().add_reader(sys.stdin, _key, ended, watch.wake)
            try:
                while not ended.is_set():
                    _draw(screen(picture, time.time_ns() // 1000))
                    await watch.wait(interval)
                    picture = await _again(client, picture)
            finally:
                asyncio.get_running_loop().remove_reader(sys.stdin)


async def _again(client: Client, picture: Picture) -> Picture:
    """A daemon that restarts is waited for; meanwhile its last words stand, marked as such."""
    try:
        return await _look(client)
    except NoDaemon as exc:
        gone = {**picture.manager, "Health": "gone", "HealthReasons": [str(exc)]}
        return Picture(gone, picture.reaper, [])


def _key(ended: asyncio.Event, wake: Callable[[], None]) -> None:
    if os.read(sys.stdin.fileno(), 64) in (b"q", b"Q", b"\x04", b""):
        ended.set()
    wake()


@contextmanager
def _screen() -> Iterator[None]:
    """Keys come one by one, unseen; the terminal is as it was afterwards. Ctrl-C stays a signal."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    sys.stdout.write(ENTER)
    try:
        yield
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def screen(picture: Picture, now: int) -> list[str]:
    lines = [*head(picture, now), ""]
    lines += roll.render(picture.sessions, now=now, legend=True, room=room()) if picture.sessions else []
    return [*lines, "", f"{roll.summary(picture.sessions)} {KEYS}"]


def _draw(lines: list[str]) -> None:
    height = shutil.get_terminal_size((80, 24)).lines
    if len(lines) > height:
        lines = [*lines[: height - 1], "..."]
    body = "\x1b[K\r\n".join(lines)
    sys.stdout.write(f"\x1b[H{body}\x1b[K\x1b[J")
    sys.stdout.flush()


def head(picture: Picture, now: int) -> list[str]:
    health = picture.manager["Health"]
    reasons = "; ".join(picture.manager["HealthReasons"])
    said = printable(f"{health}: {reasons}" if reasons else health)
    pressure = ", ".join(text for _, text in pressure_lines(picture.manager["Pressure"], now))
    colour = Style.NONE if health == "ok" else Style.RED
    return [
        f"musterd {printable(picture.manager['Version'])}, {paint(said, colour)}",
        f"Pressure: {pressure}",
        f"Reaper: {reaper_line(picture.reaper)}",
    ]


# Elsewhere


async def _plain(client: Client, interval: int) -> None:
    picture = await _look(client)
    async with watching(client) as watch:
        shown: dict[str, str] = {}
        while True:
            for text in changes(picture, shown, time.time_ns() // 1000):
                print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
            await watch.wait(interval)
            picture = await _again(client, picture)


def changes(picture: Picture, shown: dict[str, str], now: int) -> Iterator[str]:
    """Lines for what differs from `shown`, which is brought up to date. Gauges alone make no line."""
    tier = picture.manager["Pressure"].get("Tier", "")
    key = f"{picture.manager['Health']} {tier} {picture.reaper['Mode']}"
    if shown.get("") != key:
        shown[""] = key
        yield from head(picture, now)
    current = {session["Id"]: session for session in picture.sessions}
    for session_id in [known for known in shown if known and known not in current]:
        del shown[session_id]
        yield f"{printable(session_id)}  off the roll"
    for session_id, session in current.items():
        words = _words(session)
        if shown.get(session_id) != words:
            shown[session_id] = words
            memory = size(session["Memory"])
            yield f"{printable(session_id)}  {words}  {memory}  {printable(roll.what(session))}"


def _words(session: Properties) -> str:
    state = paint(printable(session["State"]), STATES.get(session["State"], Style.NONE))
    pinned = ", pinned" if session["Protected"] else ""
    verdict = printable(sessions.verdict(session))
    return f"{printable(session['Agent'])}  {state}{pinned}{f', {verdict}' if verdict else ''}"
