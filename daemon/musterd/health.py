"""How the daemon is: what is wrong with its parts, and with what they act on."""

from collections.abc import Callable

from musterd.core.state import Modes
from musterd.core.stopgate import GateMode
from musterd.ports import Ports, Record


class Health:
    """`modes` gives those of now: they tell of a reaper that has disarmed itself."""

    def __init__(self, ports: Ports, modes: Callable[[], Modes]) -> None:
        self._ports = ports
        self._modes = modes
        self._troubles: dict[str, str] = {}

    @property
    def reasons(self) -> list[str]:
        """Why it is degraded, one sentence each; everybody may read them. None: it is well."""
        modes, log = self._modes(), self._ports.log.health
        is_gate_off = log and modes.gate is not GateMode.OFF
        gate = "the stop gate acts as off: what it does cannot be written down" if is_gate_off else ""
        disarmed = modes.auto_disabled_reason
        reaper = f"the reaper has disarmed itself: {disarmed}" if disarmed else ""
        reasons = [*self._troubles.values(), log, gate, reaper]
        return [reason for reason in reasons if reason]

    def set_trouble(self, part: str, reason: str) -> None:
        """What is wrong with a part; "" when it is well again."""
        if self._troubles.get(part, "") == reason:
            return
        self._troubles[part] = reason
        if reason:
            self._ports.log.append(Record(self._ports.clock.now(), "degraded", text=f"degraded: {reason}"))
        self._ports.announcer.manager_changed("Health", "HealthReasons")
