"""org.musterd.Muster1.StopGate: modes, claims and the history of the stop gate."""

from collections.abc import Sequence
from typing import Any

from dbus_fast import Variant

from musterd.claiming import Claiming
from musterd.core.claim import Claim
from musterd.core.stopgate import GateMode
from musterd.core.units import USEC_PER_SEC
from musterd.gatekeeper import Gatekeeper
from musterd.manager import Manager
from musterd.ports import Record

from .call import Call, Handler
from .contract import Values
from .door import Door, page
from .history import History

KINDS = ("held", "would-hold", "let-go", "stop", "claim", "gate-mode", "kill-switch")


class StopGateInterface:
    """What each member takes, returns and refuses is told in dbus/org.musterd.Muster1.StopGate.xml."""

    def __init__(self, manager: Manager, gatekeeper: Gatekeeper, claiming: Claiming, door: Door) -> None:
        self._manager = manager
        self._gatekeeper = gatekeeper
        self._claiming = claiming
        self._door = door
        self._history = History(manager, door, KINDS, _verdict)

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "SetMode": self._set_mode,
            "SetKillSwitch": self._set_kill_switch,
            "Claim": self._claim,
            "UpdateClaim": self._update_claim,
            "ReleaseClaim": self._release_claim,
            "ListClaims": self._list_claims,
            "History": self._history.answer,
        }

    async def properties(self, _call: Call, _path: str) -> Values:
        return stop_gate_values(self._manager)

    async def _set_mode(self, call: Call) -> None:
        mode, why = call.args
        await self._gatekeeper.set_mode(await self._door.caller(call), mode, why)

    async def _set_kill_switch(self, call: Call) -> None:
        on, why = call.args
        await self._gatekeeper.set_kill_switch(await self._door.caller(call), why, on=on)

    async def _claim(self, call: Call) -> Sequence[object]:
        claim = await self._claiming.claim(await self._door.caller(call), _plain(call.args[0]))
        return [claim.id]

    async def _update_claim(self, call: Call) -> None:
        claim_id, changes = call.args
        await self._claiming.update(await self._door.caller(call), claim_id, _plain(changes))

    async def _release_claim(self, call: Call) -> None:
        await self._claiming.release(await self._door.caller(call), call.args[0])

    async def _list_claims(self, call: Call) -> Sequence[object]:
        claims = self._claiming.visible(await self._door.caller(call))
        enforced = self._manager.modes.gate is GateMode.ENFORCE
        return [page(claims, 0, 0, lambda claim: _row(claim, enforced=enforced))]


def stop_gate_values(manager: Manager) -> dict[str, Any]:
    modes = manager.modes
    return {
        "Mode": modes.gate.value,
        "ModeUID": modes.gate_change.by_uid,
        "ModeUSec": modes.gate_change.at,
        "ModeWhy": modes.gate_change.why,
        "KillSwitch": modes.kill_switch,
        "KillSwitchUID": modes.kill_switch_change.by_uid,
        "KillSwitchUSec": modes.kill_switch_change.at,
        "KillSwitchWhy": modes.kill_switch_change.why,
        "HookTimeoutUSec": round(manager.config.stop_gate.hook_timeout * USEC_PER_SEC),
    }


def _plain(values: dict[str, Variant]) -> dict[str, object]:
    return {key: variant.value for key, variant in values.items()}


def _row(claim: Claim, *, enforced: bool) -> list[object]:
    tally = claim.tally(enforced=enforced)
    owner, phase = claim.owner.session, claim.phase.value
    return [claim.id, owner, claim.task, phase, claim.deadline, tally.used, claim.budget.holds]


def _verdict(record: Record) -> dict[str, Variant]:
    """Of a stop."""
    verdict = record.fields.get("verdict")
    if not verdict:
        return {}
    return {
        "Verdict": Variant("s", str(verdict)),
        "Rules": Variant("s", str(record.fields.get("rules", ""))),
        "Enforced": Variant("b", bool(record.fields.get("enforced"))),
    }
