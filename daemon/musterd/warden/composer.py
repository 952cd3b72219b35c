"""Typing into the composer of an agent, as its user would; and telling what stands in it."""

import asyncio
import os
from collections.abc import Sequence

from musterd.agents.base import Adapter
from musterd.host.panes import Panes
from musterd.host.process import read_stat
from musterd.host.tty import foreground, path_here
from musterd.warden.follower import Follower

PAUSE = 0.05  # seconds between two looks at a terminal: nothing tells of its changes

# Text that comes together with its Enter is taken for a paste by some agents: Enter is a new line then.
PASTE_PAUSE = 0.3  # seconds


class InTheWay(Exception):
    """Something else is typed there, or may be."""


async def type_keys(panes: Panes, pane: str, follower: Follower, keys: Sequence[str]) -> bool:
    """Whether all were typed: only into the agent itself, and only if its composer is empty.

    False where nothing can be typed into it. Raises InTheWay if somebody else types there.
    """
    pid = follower.process.pid
    place = await panes.place(pane)
    if place is None or not place.takes_keys or foreground(pid) != os.getpgid(pid):
        return False
    before = await _screen(panes, pane)
    if not is_composer_empty(follower.adapter, before):
        raise InTheWay("its composer is not empty")
    for text, key in zip(("", *keys), keys, strict=False):
        if key == "Enter":
            while shown(await _screen(panes, pane), text) <= shown(before, text):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(PASTE_PAUSE)
            if shown(await _screen(panes, pane), text) <= shown(before, text):
                raise InTheWay(f"more than '{text}' is typed")
        await panes.run(["send-keys", "-t", pane, "--", key])
    return True


async def erase(panes: Panes, pane: str, follower: Follower, typed: str) -> None:
    """If nothing else stands in the composer."""
    pid = follower.process.pid
    place = await panes.place(pane)
    if place is None or not place.takes_keys or place.tty != path_here(pid, read_stat(pid).tty):
        return
    screen = await _screen(panes, pane)
    if foreground(pid) == os.getpgid(pid) and is_all_of_draft(follower.adapter, screen, typed):
        await panes.run(["send-keys", "-N", str(len(typed)), "-t", pane, "BSpace"])


async def _screen(panes: Panes, pane: str) -> str:
    return (await panes.screens([pane])).get(pane, "")


def is_all_of_draft(adapter: Adapter, screen: str, typed: str) -> bool:
    """Whether the composer has that text and nothing else: without it, it would be empty."""
    lines = screen.splitlines()
    ends = [number for number, line in enumerate(lines) if line.rstrip().endswith(typed)]
    if not ends or is_composer_empty(adapter, screen):
        return False
    before = lines[ends[-1]].rstrip().removesuffix(typed)
    return any(
        is_composer_empty(adapter, "\n".join([*lines[: ends[-1]], line, *lines[ends[-1] + 1 :]]))
        for line in (before, before + adapter.placeholder)
    )


def is_composer_empty(adapter: Adapter, screen: str) -> bool:
    reading = adapter.screen(screen)
    return bool(screen.strip()) and reading.is_readable and not reading.has_dialog and not reading.has_draft


def shown(screen: str, text: str) -> int:
    """How many lines end with that text: in a composer, and in no menu that describes it."""
    return sum(f" {line.strip()}".endswith(f" {text}") for line in screen.splitlines())
