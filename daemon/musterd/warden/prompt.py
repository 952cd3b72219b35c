"""Whether a shell waits at an empty prompt in a pane, for something to be typed."""

import asyncio
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from musterd.agents import image
from musterd.agents.base import ProcessFacts
from musterd.host.panes import Panes, Place
from musterd.host.process import read_facts
from musterd.host.tty import foreground, is_line_edited
from musterd.host.workers import Workers

# Whoever resumed it may have typed that into the very pane: its shell has its prompt again in a moment. An
# order that is seen in front is sure to leave, however long a busy machine takes.
PROMPT_WAIT, ORDER_WAIT, PROMPT_PAUSE = 2.0, 10.0, 0.05  # seconds

_EDITING, _PLAIN = frozenset(("bash", "zsh", "fish")), frozenset(("dash", "ash", "busybox", "ksh", "mksh"))
_PROMPT_ENDS = "$%#>❯➜»›λ"  # noqa: RUF001 - the characters that prompts end with

# What shells ask where a command is not complete yet, or a command of theirs wants an answer: `>`, zsh's
# `cmdand dquote>`, fish's `read>`, zsh's `?#`. A line typed there would run together with what stands above.
_ASKS = re.compile(r"[a-z ]*>|\?#")

_GAP = 4  # blanks between the cursor and a prompt on the right


@dataclass(frozen=True, slots=True)
class _Front:
    """What is in front in a pane."""

    program: ProcessFacts
    typed: str  # what may stand behind its prompt, if it is a shell
    edits: bool  # its line, by itself


def _nothing(_: ProcessFacts) -> str:
    return ""


async def waiting_shell(
    panes: Panes, pane: str, workers: Workers, typed: Callable[[ProcessFacts], str] = _nothing
) -> ProcessFacts | None:
    """The shell in front, once it is at its prompt; None if it is not, or more stands there.

    `typed` says what may stand there, in that shell: what an end of ours left for its user to confirm. It
    is asked in a worker, and may read. OSError if something does not answer.
    """
    loop = asyncio.get_running_loop()
    began, patience = loop.time(), PROMPT_WAIT
    while (place := await panes.place(pane)) and place.takes_keys and not place.is_dead:
        front = await workers.do(f"pane {pane}", partial(_look, place, typed))
        if front and _is_asking(front.program):
            patience = ORDER_WAIT
        elif front and not is_shell(front.program):
            return None
        elif front and await _is_at_prompt(panes, place, front):
            return front.program
        if loop.time() - began > patience:
            return None
        await asyncio.sleep(PROMPT_PAUSE)
    return None


def _look(place: Place, typed: Callable[[ProcessFacts], str]) -> _Front | None:
    """None between two: what was in front has ended, and its shell has not taken the terminal back yet."""
    group = foreground(place.pid)
    try:
        program = read_facts(group) if group else None
    except ProcessLookupError:
        return None
    if program is None or not program.argv:  # a zombie has none
        return None
    try:
        edits = is_line_edited(place.tty)
    except OSError:
        edits = False
    return _Front(program, typed(program) if is_shell(program) else "", edits)


def is_shell(facts: ProcessFacts) -> bool:
    """An interactive one: it was given neither a script nor a command."""
    options = facts.argv[1:]
    is_plain = all(word.startswith("-") for word in options)
    has_command = any("c" in word for word in options if not word.startswith("--"))
    return image.name(facts.executable) in _EDITING | _PLAIN and is_plain and not has_command


def _is_asking(facts: ProcessFacts) -> bool:
    """A `musterctl resume` at the same terminal, which leaves as soon as we are at it."""
    names = [image.name(word) for word in facts.argv[:3]]
    return "resume" in facts.argv and ("musterctl" in names or "musterd.ctl" in names)


async def _is_at_prompt(panes: Panes, place: Place, front: _Front) -> bool:
    """The line ends with a prompt, and the shell is about to edit it: it runs none of its own commands."""
    if image.name(front.program.executable) in _EDITING and not front.edits:
        return False
    is_empty = await _stands_there(panes, place, "") or (
        front.typed and await _stands_there(panes, place, front.typed)
    )
    return bool(is_empty) and await panes.place(place.pane) == place


async def _stands_there(panes: Panes, place: Place, typed: str) -> bool:
    """Whether that, and no more, is between a prompt and the cursor, in however many rows."""
    before = place.row * place.width + place.column - _columns(typed)
    first = (before - 1) // place.width if typed else place.row  # where the prompt ends
    line = unwrapped(await panes.rows(place.pane, first, place.row), place.width)
    column = (place.row - first) * place.width + place.column
    return is_empty_prompt(line, column, typed)


def unwrapped(rows: Sequence[str], width: int) -> str:
    """As one line. A shell wraps by itself, so that tmux does not know what belongs together."""
    return "".join(row + " " * (width - _columns(row)) for row in rows[:-1]) + "".join(rows[-1:])


def is_empty_prompt(line: str, column: int, typed: str = "") -> bool:
    """Whether a line shows a prompt, `typed`, and the cursor right behind that.

    On the far right may be another prompt. In doubt it is not.
    """
    left, right = _split(line, column)
    if right.strip() and not right.startswith(" " * _GAP):
        return False
    prompt = left.removesuffix(typed).removesuffix(" ")
    if not left.endswith(typed) or not prompt or prompt[-1] not in _PROMPT_ENDS or _ASKS.fullmatch(prompt):
        return False
    # One end only: `$ echo 50%` is a prompt and what somebody types.
    return not any(char in _PROMPT_ENDS and prompt[at : at + 1] == " " for at, char in enumerate(prompt, 1))


def _split(line: str, column: int) -> tuple[str, str]:
    """What stands before and behind a column of the screen, where wide characters have two."""
    at = 0
    for index, char in enumerate(line):
        if at >= column:
            return line[:index], line[index:]
        at += _columns(char)
    return line.ljust(len(line) + column - at), ""


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
