"""`top`: the roll as it changes: on a terminal a picture that redraws itself, elsewhere a line a change.

With `--json` it is an object a line, of all of it.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import termios
import time
import tty
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from musterd.bus.names import MANAGER, REAPER

from . import roll, sessions
from .client import Client, Properties, Where
from .failure import NoDaemon
from .status import pressure_lines, reaper_line
from .style import STATES, Style, paint
from .table import room
from .text import printable, size
from .watch import Watch, watching

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the terminal's second screen, no cursor, long lines are cut
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown: all of it from one moment."""

    manager: Properties
    reaper: Properties
    sessions: list[Properties]


async def run(client: Client, args: Namespace) -> None:
    show = _show(client.where, is_json="json" in args)
    picture = await _look(client)  # fails before anything is shown
    async with watching(client) as watch:
        stop = _Stop(watch)
        with show.opened(stop):
            while not stop.is_wanted:
                show.draw(picture, time.time_ns() // 1000)
                await watch.wait(args.interval)
                picture = await _again(client, picture)


def _show(where: Where, *, is_json: bool) -> "Screen | Lines | Objects":
    if is_json:
        return Objects()
    return Screen(_way_here(where)) if sys.stdout.isatty() else Lines()


def _way_here(where: Where) -> str:
    """How other terminals find a daemon that is on no usual bus; "" for those that are."""
    if where.host or ":" not in where.address:
        return ""
    return f"In another terminal: export MUSTERD_BUS={printable(where.address)}"


class _Stop:
    """Whether to end; called by a key or a signal, also where a shell had it ignored."""

    def __init__(self, watch: Watch) -> None:
        self.is_wanted = False
        self._watch = watch
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self)
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, watch.wake)

    def __call__(self) -> None:
        self.is_wanted = True
        self._watch.wake()


async def _look(client: Client) -> Picture:
    manager = await client.properties(MANAGER)
    return Picture(manager, await client.properties(REAPER), await sessions.look(client))


async def _again(client: Client, picture: Picture) -> Picture:
    """A daemon that restarts is waited for; meanwhile its last words stand, marked as such."""
    try:
        return await _look(client)
    except NoDaemon as exc:
        gone = {**picture.manager, "Health": "gone", "HealthReasons": [str(exc)]}
        return Picture(gone, picture.reaper, [])


class Screen:
    """A terminal: redrawn as a whole, and left as it was."""

    def __init__(self, way_here: str) -> None:
        self._way_here = way_here
        self._has_keys = sys.stdin.isatty()

    @contextmanager
    def opened(self, stop: _Stop) -> Iterator[None]:
        with ExitStack() as stack:
            if self._has_keys:
                stack.enter_context(_keys(stop))
            stack.callback(_write, LEAVE)
            _write(ENTER)
            yield

    def draw(self, picture: Picture, now: int) -> None:
        lines = screen(picture, now, hint="q ends." if self._has_keys else "Ctrl-C ends.")
        lines += [self._way_here] if self._way_here else []
        height = shutil.get_terminal_size((80, 24)).lines
        if len(lines) > height:
            lines = [*lines[: height - 1], "..."]
        body = "\x1b[K\r\n".join(lines)
        _write(f"\x1b[H{body}\x1b[K\x1b[J")


@contextmanager
def _keys(stop: _Stop) -> Iterator[None]:
    """They come one by one, unseen; Ctrl-C stays a signal."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    asyncio.get_running_loop().add_reader(sys.stdin, _key, stop)
    try:
        yield
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _key(stop: _Stop) -> None:
    try:
        pressed = os.read(sys.stdin.fileno(), 64)
    except OSError:
        pressed = b""
    if pressed in (b"q", b"Q", b"\x04", b""):
        stop()


def _write(text: str) -> None:
    with suppress(OSError):  # the terminal is gone; SIGHUP says so, too
        sys.stdout.write(text)
        sys.stdout.flush()


class Lines:
    """Where there is no terminal: a line for each change."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    @contextmanager
    def opened(self, _stop: _Stop) -> Iterator[None]:
        yield

    def draw(self, picture: Picture, now: int) -> None:
        for text in changes(picture, self._shown, now):
            print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Objects:
    """For programs: an object a line, when anything in it is different; gauges are as of each refresh."""

    def __init__(self) -> None:
        self._shown = ""

    @contextmanager
    def opened(self, _stop: _Stop) -> Iterator[None]:
        yield

    def draw(self, picture: Picture, _now: int) -> None:
        parts = {"Manager": picture.manager, "Reaper": picture.reaper, "Sessions": picture.sessions}
        text = json.dumps(parts)
        if text != self._shown:
            print(text, flush=True)
        self._shown = text


def screen(picture: Picture, now: int, hint: str) -> list[str]:
    lines = [*head(picture, now), ""]
    lines += roll.render(picture.sessions, now=now, legend=True, room=room()) if picture.sessions else []
    return [*lines, "", f"{roll.summary(picture.sessions)} {hint}"]


def head(picture: Picture, now: int) -> list[str]:
    health = picture.manager["Health"]
    reasons = "; ".join(picture.manager["HealthReasons"])
    said = printable(f"{health}: {reasons}" if reasons else health)
    pressure = [text for _, text in pressure_lines(picture.manager["Pressure"], now)]
    colour = Style.NONE if health == "ok" else Style.RED
    return [
        f"musterd {printable(picture.manager['Version'])}, {paint(said, colour)}",
        *(f"{label:>9} {text}" for label, text in zip(("Pressure:", ""), pressure, strict=False)),
        f"  Reaper: {reaper_line(picture.reaper)}",
    ]


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
