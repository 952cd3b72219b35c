"""A warden at the other end of the line: does what it is asked, and tells what it sees."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from musterd.core.errors import Failed, MusterError, NoSuchSession
from musterd.core.evidence import Observation, Usage
from musterd.core.session import PidRef, Session, SessionId
from musterd.warden_port import Warden

from .line import FRAME, MEMBERS, PART, WINDOW, Line, LineEnded, Member, number_of
from .wire import dump, pack, unpack

logger = logging.getLogger(__name__)


class Answers:
    """`run` serves one line until it ends. What it is told comes from the daemon, and is obeyed."""

    def __init__(self, warden: Warden, line: Line) -> None:
        self._warden = warden
        self._line = line
        self._sessions: dict[SessionId, Session] = {}  # that it watches
        self._credit = asyncio.Semaphore(WINDOW)
        self._working: set[asyncio.Task[None]] = set()
        self._telling: asyncio.Task[None] | None = None
        self.last_call = asyncio.get_running_loop().time()

    @property
    def is_idle(self) -> bool:
        return not self._sessions and not self._working

    @property
    def count(self) -> int:
        """How many sessions it watches."""
        return len(self._sessions)

    def say_goodbye(self) -> None:
        with suppress(LineEnded):
            self._line.send(bye=True)

    async def run(self) -> None:
        """Raises LineEnded."""
        try:
            while True:
                message, _ = await self._line.receive()
                self._take(message)
        finally:
            if tasks := [task for task in (self._telling, *self._working) if task]:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    def _take(self, message: Mapping[str, object]) -> None:
        if "heard" in message:
            for _ in range(number_of(message, "heard")):
                self._credit.release()
            return
        number, name = number_of(message, "call"), str(message["member"])
        self.last_call = asyncio.get_running_loop().time()
        task = asyncio.create_task(self._answer(number, name, message["args"]), name=name)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _tell(self) -> None:
        async for event in self._warden.events():
            await self._credit.acquire()
            if len(dump(packed := pack(event))) > FRAME:
                logger.warning("An event is too long to be told, ignoring")
                continue
            with suppress(LineEnded):
                self._line.send(event=packed)

    async def _answer(self, number: int, name: str, args: object) -> None:
        try:
            member = MEMBERS[name]
            result = await self._do(name, _arguments(member, args))
            if number:
                self._reply(number, member, result)
        except LineEnded:
            pass  # nobody wants to know any more
        except MusterError as exc:
            self._refuse(number, type(exc).__name__, str(exc))
        except Exception:
            logger.exception("Cannot do '%s'", name)
            self._refuse(number, Failed.__name__, f"Its warden cannot do '{name}'.")

    async def _do(self, name: str, args: Sequence[Any]) -> object:
        own: dict[str, Callable[..., Awaitable[object]]] = {
            "events": self._begin,
            "watch": self._watch,
            "unwatch": self._unwatch,
            "forget": self._forget,
            "observe": self._observe,
            "usage": self._usage,
        }
        return await (own.get(name) or getattr(self._warden, name))(*args)

    async def _begin(self) -> None:
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="events")

    async def _forget(self, process: PidRef) -> None:
        self._warden.forget(process)

    async def _unwatch(self, session_id: SessionId) -> None:
        self._sessions.pop(session_id, None)
        self._warden.unwatch(session_id)

    async def _observe(
        self,
        ids: Sequence[SessionId],
        screens: bool,  # noqa: FBT001 - as it came over the line
    ) -> Mapping[SessionId, Observation]:
        return await self._warden.observe(self._watched(ids), screens=screens)

    async def _usage(self, ids: Sequence[SessionId]) -> Mapping[SessionId, Usage]:
        return await self._warden.usage(self._watched(ids))

    async def _watch(self, session: Session) -> None:
        self._sessions[session.id] = session
        try:
            await self._warden.watch(session)
        except NoSuchSession:
            self._sessions.pop(session.id, None)
            raise

    def _watched(self, ids: Sequence[SessionId]) -> list[Session]:
        return [self._sessions[session_id] for session_id in ids if session_id in self._sessions]

    def _reply(self, number: int, member: Member, result: object) -> None:
        if member.is_table:
            assert isinstance(result, Mapping)
            for key, item in result.items():
                if len(dump(value := pack(item))) <= PART:
                    self._line.send(part=number, key=key, value=value)
            result = None
        value = pack(result)
        if len(dump(value)) > FRAME // 2:
            raise Failed("There is too much of it to be told.")
        self._line.send(done=number, value=value)

    def _refuse(self, number: int, error: str, text: str) -> None:
        if number:
            with suppress(LineEnded):
                self._line.send(refused=number, error=error, text=pack(text))


def _arguments(member: Member, args: object) -> list[Any]:
    if not isinstance(args, list) or len(args) != len(member.takes):
        raise Failed("The arguments do not fit.")
    return [unpack(kind, arg) for kind, arg in zip(member.takes, args, strict=True)]
