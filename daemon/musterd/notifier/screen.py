"""What is on the screen: one notification for each thing that is told of, the latest news of it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from .desktop import NotShown
from .topics import Action, Disarmed, Facts, Notice, Prepare, Topic
from .words import word

MAX_SLOTS = 64  # notifications that we answer for

# Keys of what is not about one session; no session id looks like them.
REAPER, MORE = "\0reaper", "\0more"
STOP = "\0stop "  # before a session id: what the stop gate does with it replaces nothing else of it


class Desktop(Protocol):
    """`desktop.Desktop`."""

    async def show(self, notice: Notice, replaces: int = 0) -> int:
        """In the place of that number, if there is one -> its own number, above 0. Raises NotShown."""

    async def close(self, number: int) -> None:
        """Numbers of none are ignored."""


@dataclass(slots=True)
class Slot:
    """What is told of one thing."""

    topic: Topic
    facts: Facts
    notice: Notice
    number: int = 0  # on the desktop; 0: not shown yet
    is_gone: bool = False  # from the screen, though a late click may still come
    is_answering: bool = False  # a click is being carried out


class Screen:
    """Slots by key (a session id, or one of those above), the latest last."""

    def __init__(self, desktop: Desktop, now: Callable[[], int]) -> None:
        self._desktop = desktop
        self._now = now
        self._slots: dict[str, Slot] = {}

    @property
    def slots(self) -> tuple[tuple[str, Slot], ...]:
        return tuple(self._slots.items())

    def find(self, key: str) -> Slot | None:
        return self._slots.get(key)

    def clicked(self, number: int, action: Action) -> list[tuple[str, Slot]]:
        """What that button of that notification is about."""
        return [(k, s) for k, s in self.slots if s.number == number and action in s.notice.actions]

    def closed(self, number: int) -> None:
        for slot in self._slots.values():
            slot.is_gone = slot.is_gone or slot.number == number

    async def show(self, key: str, topic: Topic, facts: Facts) -> None:
        notice = word(topic, facts, self._now())
        if notice is None:
            await self.drop(key)
            return
        before = self._slots.pop(key, None)
        slot = self._slots[key] = Slot(topic, facts, notice)
        with suppress(NotShown):  # then it is shown when there is a service again
            replaces = before.number if before and not before.is_gone else 0
            slot.number = await self._desktop.show(notice, replaces)
        while len(self._slots) > MAX_SLOTS:
            await self.drop(next(key for key in self._slots if key != REAPER))

    async def drop(self, key: str) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None and slot.number and not slot.is_gone:
            await self._desktop.close(slot.number)

    def forget_numbers(self) -> None:
        """What was read is not shown again, except for what still needs somebody."""
        for key, slot in self.slots:
            is_open = isinstance(slot.topic, Prepare | Disarmed) and not slot.is_gone
            if slot.number and not is_open and not slot.is_answering:
                del self._slots[key]
            slot.number = 0
