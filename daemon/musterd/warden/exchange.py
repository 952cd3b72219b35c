"""What goes over the line to a warden that is a process of its own, from the manager's end.

Whatever it does or does not do costs its own user something, and nobody else: answers have time-outs, one
that is silent is not asked on, what it tells comes in measured portions, and at the first thing that cannot
be the line is ended.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from musterd.core import errors
from musterd.core.errors import Failed, MusterError, NoSuchSession
from musterd.core.evidence import Observation, Usage
from musterd.core.session import SessionId
from musterd.ports import Clock
from musterd.warden_port import Appeared, WardenEvent

from .belief import Nonsense, check_usage, checked_leader
from .line import MEMBERS, PART, WINDOW, Event, Line, LineEnded, Member, number_of
from .wire import pack, unpack

logger = logging.getLogger(__name__)

CALLS = 256  # that wait for its answer
LATE = 1024  # calls that were given up, and may still be answered
SILENCE = 30.0  # seconds after a call that was not answered until it is given up for good

# What one warden may cost the loop that serves all users.
EVENT_RATE = 2000.0  # a second
CREDIT_PAUSE = 0.05  # seconds from the first that was heard
BYTE_RATE = 8 * 1024 * 1024.0  # a second
PORTION = 512 * 1024  # bytes that are read before the rate counts

# What of it may wait in our memory, in bytes as they came; a text may take four times as much.
EVENTS = 4 * 1024 * 1024  # that were not heard yet: no more is read until they are
PARTS = 16 * 1024 * 1024  # of answers that are not complete

REASON = 512  # characters of a refusal that are passed on

_REFUSALS: Mapping[str, type[MusterError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MusterError)
}


@dataclass(slots=True)
class _Waiting:
    member: Member
    answer: asyncio.Future[Any]
    asked: frozenset[str] = frozenset()  # of an answer that is a table: what may be in it
    parts: dict[str, Any] = field(default_factory=dict)
    size: int = 0  # bytes of the parts


class Exchange:
    """Calls and their answers, and what is told; `run` listens until the line ends, and says why it did."""

    def __init__(self, uid: int, line: Line, clock: Clock, on_bye: Callable[[], None]) -> None:
        self.uid = uid
        self._clock = clock
        self._line = line
        self._on_bye = on_bye
        self._number = 0
        self._waiting: dict[int, _Waiting] = {}
        self._late: dict[int, None] = {}
        self._known: set[SessionId] = set()  # that it was ever told to watch
        self._events: asyncio.Queue[tuple[WardenEvent, int] | None] = asyncio.Queue()  # and its bytes
        self._waiting_bytes = 0  # of them
        self._has_room = asyncio.Event()
        self._unheard = 0  # events that it sent, and was not told that they were heard
        self._heard = 0
        self._credit: asyncio.TimerHandle | None = None
        self._credit_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._silent_since = 0.0
        self.why_ended = ""
        self.is_liar = False  # it said what cannot be

    # Listening

    async def run(self) -> str:
        """Until its end -> why. Calls that wait are refused then."""
        try:
            await self._listen()
        except LineEnded as exc:
            self._drop(str(exc))
        except (ValueError, KeyError) as exc:
            self._disbelieve(exc)
        finally:
            self._end()
        return self.why_ended

    async def _listen(self) -> None:
        debt = 0
        while True:
            message, size = await self._line.receive()
            self._silent_since = 0.0
            if "bye" in message:
                self._on_bye()
                raise LineEnded("nothing is left to do")
            self._take(message, size)
            await self._room()
            debt += size
            if debt > PORTION:
                await asyncio.sleep(debt / BYTE_RATE)
                debt = 0

    async def _room(self) -> None:
        """Return when not too much of what it told waits to be heard."""
        while self._waiting_bytes > EVENTS and not self.why_ended:
            self._has_room.clear()
            await self._has_room.wait()

    def _take(self, message: Mapping[str, object], size: int) -> None:
        if "event" in message:
            self._take_event(unpack(Event, message["event"]), size)
            return
        kind = next((kind for kind in ("part", "done", "refused") if kind in message), None)
        if kind is None:
            raise Nonsense("nothing that is known")
        number = number_of(message, kind)
        waiting = self._waiting.get(number)
        if waiting is None:
            if number not in self._late:
                raise Nonsense("an answer that nobody asked for")
        elif kind == "part":
            self._take_part(waiting, message, size)
        elif not waiting.answer.done():
            self._answer(waiting, kind, message)

    def _take_part(self, waiting: _Waiting, message: Mapping[str, object], size: int) -> None:
        waiting.size += size
        if size > 2 * PART or sum(other.size for other in self._waiting.values()) > PARTS:
            raise Nonsense("more than anybody has to tell of a session")
        key = message["key"]
        if not isinstance(key, str) or key not in waiting.asked or key in waiting.parts:
            raise Nonsense("an answer about what was not asked")
        _, kind = waiting.member.returns.__args__
        value: Any = unpack(kind, message["value"])
        if isinstance(value, Usage | Observation):
            check_usage(value if isinstance(value, Usage) else value.usage)
        waiting.parts[key] = value

    def _answer(self, waiting: _Waiting, kind: str, message: Mapping[str, object]) -> None:
        if kind == "refused":
            refusal = _REFUSALS.get(str(message["error"]), Failed)
            text: str = unpack(str, message["text"])
            waiting.answer.set_exception(refusal(text[:REASON]))
        elif waiting.member.is_table:
            waiting.answer.set_result(waiting.parts)
        else:
            waiting.answer.set_result(unpack(waiting.member.returns or type(None), message["value"]))

    def _take_event(self, event: WardenEvent, size: int) -> None:
        self._unheard += 1
        if self._unheard > WINDOW:
            raise Nonsense("more events than it may")
        match event:
            case Appeared(leader):
                with suppress(NoSuchSession, Failed):
                    self._keep(Appeared(checked_leader(leader, self.uid)), size)
                    return
                self._hear()
            case _ if event.session not in self._known:
                raise Nonsense(f"session '{event.session[:64]}' is none of its user's")
            case _:
                self._keep(event, size)

    def _keep(self, event: WardenEvent, size: int) -> None:
        self._waiting_bytes += size
        self._events.put_nowait((event, size))

    async def events(self) -> AsyncIterator[WardenEvent]:
        self._order("events")
        while (told := await self._events.get()) is not None:
            event, size = told
            yield event
            self._waiting_bytes -= size
            self._has_room.set()
            self._hear()

    def _hear(self) -> None:
        """It may send another one, but not all at once."""
        self._heard += 1
        if self._credit is None and not self.why_ended:
            at = max(self._credit_at, self._loop.time() + CREDIT_PAUSE)
            self._credit = self._loop.call_at(at, self._give_credit)

    def _give_credit(self) -> None:
        self._credit = None
        heard, self._heard = self._heard, 0
        self._unheard -= heard
        self._credit_at = self._loop.time() + heard / EVENT_RATE
        with suppress(LineEnded):
            self._line.send(heard=heard)

    # Asking

    async def _call(self, name: str, *args: object, asked: Sequence[str] = (), seconds: float = 0.0) -> Any:
        member = MEMBERS[name]
        self._check_silence()
        if len(self._waiting) >= CALLS:
            raise Failed(f"The warden of user {self.uid} is busy with {CALLS} calls, try again.")
        self._number += 1
        number = self._number
        waiting = _Waiting(member, self._loop.create_future(), frozenset(asked))
        self._waiting[number] = waiting
        try:
            self._send(number, name, args)
            async with asyncio.timeout(member.within + seconds):
                return await waiting.answer
        except TimeoutError as exc:
            self._silent_since = self._silent_since or self._loop.time()
            raise self._silent(name) from exc
        finally:
            del self._waiting[number]
            if not waiting.answer.done() or waiting.answer.cancelled():
                self._give_up(number)

    def _check_silence(self) -> None:
        """While it is silent nobody else is kept waiting for it."""
        if self.why_ended:
            raise Failed(f"The warden of user {self.uid} is gone: {self.why_ended}.")
        if self._silent_since:
            if self._loop.time() - self._silent_since > SILENCE:
                self._drop("it does not answer")
            raise self._silent("it")

    def _silent(self, what: str) -> Failed:
        return Failed(f"The warden of user {self.uid} did not answer in time ({what}).")

    def _give_up(self, number: int) -> None:
        self._late[number] = None
        if len(self._late) > LATE:
            del self._late[next(iter(self._late))]

    def _order(self, name: str, *args: object) -> None:
        assert MEMBERS[name].is_order
        with suppress(Failed):
            self._send(0, name, args)

    def _send(self, number: int, name: str, args: Sequence[object]) -> None:
        try:
            self._line.send(call=number, member=name, args=[pack(arg) for arg in args])
        except LineEnded as exc:
            raise Failed(f"The warden of user {self.uid} is gone: {exc}.") from exc

    def _drop(self, why: str) -> None:
        self.why_ended = self.why_ended or why
        self._has_room.set()
        self._line.drop()

    def _disbelieve(self, what: object) -> Failed:
        self.is_liar = True
        self._drop(f"it says what cannot be: {what}")
        return Failed(f"The warden of user {self.uid} cannot be believed: {what}.")

    def _end(self) -> None:
        self.why_ended = self.why_ended or "it is gone"
        self._line.drop()
        if self._credit:
            self._credit.cancel()
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(Failed(f"The warden of user {self.uid} is gone."))
        self._events.put_nowait(None)
