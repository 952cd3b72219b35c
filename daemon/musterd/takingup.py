"""The roll is taken up where it was left: what is gone by now ends, the rest is watched again."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from musterd.core import life
from musterd.core.errors import MusterError, NoSuchSession
from musterd.core.session import PidRef, Session, SessionId, State
from musterd.keeper import Keeper
from musterd.ports import Ports
from musterd.roll import Roll

logger = logging.getLogger(__name__)


class TakingUp:
    def __init__(self, roll: Roll, ports: Ports, keeper: Keeper) -> None:
        self._roll = roll
        self._registry = roll.registry
        self._ports = ports
        self._keeper = keeper
        self._interrupted: dict[SessionId, Session] = {}  # as loaded

    def enter(self, sessions: Iterable[Session]) -> None:
        """As they were loaded: nobody has looked yet whether they live."""
        for session in sessions:
            if session.leader and session.is_current and self._registry.by_leader(session.leader):
                session = session.ended("double", self._ports.clock.now())
            self._registry.put(session)
            if session.ending and session.is_current:
                self._interrupted[session.id] = session

    async def take_up(self, session: Session) -> None:
        """Once there is a warden for it: it is watched again, or it ended while nobody looked."""
        try:
            if session.leader is not None:
                await self._roll.watch(session)
            if self._was_interrupted(session):  # and it lives: it is judged anew
                alive = replace(session, ending="", state=life.said_state(session))
                self._roll.change(session, alive)
            if session.leader is not None and not session.environ:
                await self._learn_environ(session, session.leader)
        except NoSuchSession:
            await self._end(session)
        except MusterError as exc:
            # Unknown is not dead: it stays on the roll, and no gate can pass without a look at it.
            logger.warning("Session '%s' cannot be watched: %s, ignoring", session.id, exc)
        except Exception:
            logger.exception("Session '%s' cannot be taken up", session.id)

    async def _end(self, session: Session) -> None:
        """It ended while nobody looked."""
        if session.state is State.STOPPING and not self._was_interrupted(session):
            self._roll.gone.add(session.id)  # whoever ends it looks at the rest of its tree first
            return
        told = await self._ports.log.recent(1, session=session.id, kinds=("ended",))
        if told and told[0][1].at >= session.created_usec:
            # The history was quicker than the state file when we were killed: it is told once.
            self._registry.put(session.ended(session.ending or "exited", told[0][1].at))
            self._keeper.want(session.id)
        else:
            self._roll.end(session, session.ending or self._why_gone(session))

    def _was_interrupted(self, session: Session) -> bool:
        """We went away in the middle of its end, and nothing has happened to it since."""
        return self._interrupted.get(session.id) is session is self._registry.find(session.id)

    async def _learn_environ(self, session: Session, leader: PidRef) -> None:
        """Of one that lives; a file of an older version says nothing of it."""
        with suppress(MusterError):
            found = await (await self._ports.wardens.get(session.uid)).leader(leader.pid, session.agent)
            if found.process.is_same(leader):
                now = self._registry.get(session.id)
                self._roll.change(now, replace(now, environ=found.environ))

    def _why_gone(self, session: Session) -> str:
        """Of one that ended while nobody looked, and not by order."""
        is_of_this_boot = session.leader is None or session.leader.boot_id == self._ports.boot_id
        return "gone-while-away" if is_of_this_boot else "reboot"
