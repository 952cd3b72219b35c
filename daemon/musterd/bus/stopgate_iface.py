"""org.musterd.Muster1.StopGate: modes, claims and the history of the stop gate."""

from collections.abc import Sequence
from typing import Any

from dbus_fast import Variant

from musterd.claiming import Claiming
from musterd.core.claim import Claim
from musterd.core.stopgate import GateMode
from musterd.gatekeeper import Gatekeeper
from musterd.manager import Manager
from musterd.ports import Record

from .call import Call, Handler
from .contract import Values
from .door import Door, page
from .manager_iface import NO_UID

KINDS = ("held", "would-hold", "let-go", "stop", "claim", "gate-mode", "kill-switch")
HISTORY_ROWS = 500
HISTORY_BYTES = 200 * 1024


class StopGateInterface:
    def __init__(self, manager: Manager, gatekeeper: Gatekeeper, claiming: Claiming, door: Door) -> None:
        self._manager = manager
        self._gatekeeper = gatekeeper
        self._claiming = claiming
        self._door = door

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "SetMode": self._set_mode,
            "SetKillSwitch": self._set_kill_switch,
            "Claim": self._claim,
            "UpdateClaim": self._update_claim,
            "ReleaseClaim": self._release_claim,
            "ListClaims": self._list_claims,
            "History": self._history,
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

    async def _history(self, call: Call) -> Sequence[object]:
        limit = min(call.args[0] or HISTORY_ROWS, HISTORY_ROWS)
        events = await self._manager.history(await self._door.caller(call), limit, 0, 0, "", KINDS)
        rows, size = [], 0
        for number, record in events:
            size += len(record.text.encode()) + 256
            if size > HISTORY_BYTES:
                break
            rows.append(_history_row(number, record))
        return [rows]


def stop_gate_values(manager: Manager) -> dict[str, Any]:
    return {"Mode": manager.modes.gate.value, "KillSwitch": manager.modes.kill_switch}


def _plain(values: dict[str, Variant]) -> dict[str, object]:
    return {key: variant.value for key, variant in values.items()}


def _row(claim: Claim, *, enforced: bool) -> list[object]:
    tally = claim.tally(enforced=enforced)
    owner, phase = claim.owner.session, claim.phase.value
    return [claim.id, owner, claim.task, phase, claim.deadline, tally.used, claim.budget.holds]


def _history_row(number: int, record: Record) -> dict[str, Variant]:
    row = {
        "Number": Variant("t", number),
        "TimeUSec": Variant("t", record.at),
        "Kind": Variant("s", record.kind),
        "Session": Variant("s", record.session),
        "UID": Variant("u", record.uid if record.uid >= 0 else NO_UID),
        "Text": Variant("s", record.text),
    }
    if verdict := record.fields.get("verdict"):
        row["Verdict"] = Variant("s", str(verdict))
        row["Rules"] = Variant("s", str(record.fields.get("rules", "")))
        row["Enforced"] = Variant("b", bool(record.fields.get("enforced")))
    return row
