"""Agents that wardens found are enrolled, each user's apart from others' and from what else is told."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from musterd.core.errors import MusterError, NoSuchSession
from musterd.warden_port import Leader, Wardens

logger = logging.getLogger(__name__)

WAITING = 256  # of one user; more than may be on the roll, and a warden that floods is not remembered


class Discovered:
    """`trouble` says how a part does ("": well): to everybody, so that it does not quote a warden."""

    def __init__(
        self,
        wardens: Wardens,
        enrol: Callable[[Leader], Awaitable[object]],
        trouble: Callable[[str, str], None],
    ) -> None:
        self._wardens = wardens
        self._enrol = enrol
        self._trouble = trouble
        self._waiting: dict[int, deque[Leader]] = {}
        self._new: asyncio.Queue[int] = asyncio.Queue()  # users who had nobody waiting

    def put(self, leader: Leader) -> None:
        """Returns at once: the end of a session must not wait for the disk."""
        uid = leader.facts.uid
        waiting = self._waiting.get(uid)
        if waiting is None:
            self._waiting[uid] = deque([leader])
            self._new.put_nowait(uid)
        elif len(waiting) < WAITING:
            waiting.append(leader)
        else:
            self._forget(leader)  # it is found again

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                uid = await self._new.get()
                tasks.create_task(self._enrol_all(uid), name=f"enrol-{uid}")

    async def _enrol_all(self, uid: int) -> None:
        waiting = self._waiting[uid]
        while waiting:
            await self._enrol_one(waiting.popleft())
        del self._waiting[uid]

    async def _enrol_one(self, leader: Leader) -> None:
        uid = leader.facts.uid
        part = f"discovery-{uid}"
        try:
            await self._enrol(leader)
        except NoSuchSession:
            logger.debug("Process %d ended before it was enrolled", leader.process.pid)
        except MusterError as exc:
            self._forget(leader)
            logger.warning("Process %d is not on the roll: %s, ignoring", leader.process.pid, exc)
            self._trouble(part, f"an agent of user {uid} that was found is not on the roll")
        except Exception:
            logger.exception("Process %d cannot be enrolled", leader.process.pid)
        else:
            self._trouble(part, "")

    def _forget(self, leader: Leader) -> None:
        if warden := self._wardens.find(leader.facts.uid):
            warden.forget(leader.process)
