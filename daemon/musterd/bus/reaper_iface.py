"""org.musterd.Muster1.Reaper: modes, explanations and the history of the reaper."""

from collections.abc import Sequence
from typing import Any

from musterd.core.case import Case, Explanation, Gate
from musterd.judge import Judge
from musterd.manager import Manager
from musterd.reaping import Reaper

from .call import Call, Handler
from .contract import Values
from .door import Door, page
from .history import History

KINDS = (
    "verdict", "prepare", "cancelled", "would-reap", "reaped", "end-failed", "auto-disabled",
    "leftover", "leftovers-ended", "reclaimed", "mode", "pressure",
)  # fmt: skip


class ReaperInterface:
    """What each member takes, returns and refuses is told in dbus/org.musterd.Muster1.Reaper.xml."""

    def __init__(self, manager: Manager, judge: Judge, reaper: Reaper, door: Door) -> None:
        self._manager = manager
        self._judge = judge
        self._reaper = reaper
        self._door = door
        self._history = History(manager, door, KINDS)

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "SetMode": self._set_mode,
            "Explain": self._explain,
            "ListVerdicts": self._list_verdicts,
            "History": self._history.answer,
        }

    async def properties(self, _call: Call, _path: str) -> Values:
        return reaper_values(self._manager, self._judge)

    async def _set_mode(self, call: Call) -> None:
        await self._reaper.set_mode(await self._door.caller(call), *call.args)

    async def _explain(self, call: Call) -> Sequence[object]:
        session = await self._manager.session(await self._door.caller(call), call.args[0])
        explanation, now = await self._judge.explain(session)
        gates = [_gate_row(gate, now) for gate in explanation.gates]
        return [explanation.verdict.value, explanation.kept_by, gates]

    async def _list_verdicts(self, call: Call) -> Sequence[object]:
        sessions = self._manager.visible(await self._door.caller(call))
        return [page(await self._judge.evaluate(sessions), 0, 0, _verdict_row)]


def reaper_values(manager: Manager, judge: Judge) -> dict[str, Any]:
    return {
        "Mode": manager.modes.reaper.value,
        "ModeUID": manager.modes.reaper_change.by_uid,
        "ModeUSec": manager.modes.reaper_change.at,
        "ModeWhy": manager.modes.reaper_change.why,
        "AutoDisabled": bool(manager.modes.auto_disabled_reason),
        "AutoDisabledReason": manager.modes.auto_disabled_reason,
        "Tier": manager.pressure.tier.value,
        "LastEvaluationUSec": judge.last_evaluation,
        "ReapsLastHour": len(judge.actions),
        "BudgetPerHour": manager.config.reaper.budget_per_hour,
    }


def _gate_row(gate: Gate, now: int) -> list[object]:
    age = max(now - gate.finding.at, 0) if gate.finding.at else 0
    return [gate.name, gate.finding.outcome.value, age, gate.finding.evidence]


def _verdict_row(judged: tuple[Case, Explanation]) -> list[object]:
    case, explanation = judged
    return [case.session.id, explanation.verdict.value, explanation.kept_by, case.look.usage.memory]
