"""What callers do with inhibitors: who may hold which, and what outlives a restart of ours."""

import logging

from musterd.authority import is_granted
from musterd.core.errors import MusterError
from musterd.core.inhibitor import Inhibitor, What, parse_mode, parse_what
from musterd.core.spec import text
from musterd.manager import Manager
from musterd.ports import Action, Caller, Pipe

logger = logging.getLogger(__name__)


class Inhibiting:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._inhibitors = manager.inhibitors
        self._ports = manager.ports

    async def inhibit(
        self, caller: Caller, what: str, who: str, why: str, mode: str, session_id: str
    ) -> Inhibitor:
        """Held until it is given back, which whoever gave out its fd does when the last holder is gone."""
        wish = (parse_what(what), text(who), text(why), parse_mode(mode))
        covered = (await self._manager.session(caller, session_id)).id if session_id else ""
        is_operators = What.STOP in wish[0] and await is_granted(
            self._ports.authority, caller, Action.SET_MODE
        )
        taken = (caller.uid, caller.pid, covered)
        return self._inhibitors.take(*wish, *taken, is_operators=is_operators)

    async def pipe_of(self, inhibitor: Inhibitor) -> Pipe | None:
        """What it hangs on, and goes on to do after a restart; None where that cannot be had."""
        try:
            return await self._ports.store.create_pipe(inhibitor)
        except MusterError as exc:
            logger.warning("An inhibitor would not outlive a restart: %s, ignoring", exc)
            return None
        except BaseException:
            self._inhibitors.give_back(inhibitor.number)
            raise

    def visible(self, caller: Caller) -> list[Inhibitor]:
        return [inhibitor for inhibitor in self._inhibitors if caller.owns(inhibitor.uid)]
