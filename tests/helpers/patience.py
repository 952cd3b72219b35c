"""What parts of the daemon wait for in tests: real programs, which a busy machine may keep waiting.

For those that run within a test; and, as a program, `python -m musterd` with that patience. A test of such a
patience sets that one itself.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FunctionType

from musterd.core.units import USEC_PER_SEC
from musterd.host import programs

PATIENCE = 60.0  # seconds

_WAITS = {
    "musterd.bus.connection": ("CONNECT_TIMEOUT",),
    "musterd.bus.login1": ("TIMEOUT",),
    "musterd.bus.polkit": ("RULES_TIMEOUT",),
    "musterd.host.panes": ("START_TIMEOUT",),
    "musterd.host.query": ("TIMEOUT",),
    "musterd.host.tmux": ("TIMEOUT",),
    "musterd.host.workers": ("PATIENCE",),
    "musterd.warden.ending": (
        "KILL_PATIENCE", "LEAVE_PATIENCE", "LOOK_PATIENCE", "QUIT_PATIENCE", "TERM_PATIENCE",
    ),
    "musterd.warden.notice": ("NOTICE_PATIENCE", "PROMPT_PATIENCE", "TYPING_PATIENCE"),
    "musterd.warden.revive": ("TMUX_PATIENCE",),
}  # fmt: skip
PATIENCES: dict[str, float] = {
    **{f"{module}.{name}": PATIENCE for module, names in _WAITS.items() for name in names},
    "musterd.host.programs._LOOKS": round(PATIENCE / programs._PAUSE),
}


# What a test waits for itself, or is about, where the daemon is in the same process. The record of a turn is
# as much older than the word of its end as a hook is slow.
_MORE: dict[str, object] = {
    "musterd.judge.LOOK_LIFE": 100,
    "musterd.core.seen.RECORD_LAG": round(PATIENCE * USEC_PER_SEC),
    "musterd.reviver.APPEARANCE": PATIENCE,
    "musterd.warden.prompt.PROMPT_WAIT": PATIENCE,
    "musterd.warden.revive.LOOKS": (0.3, 0.7, *range(1, round(PATIENCE))),
}
_CTL: dict[str, object] = {
    "musterd.ctl.client.CALL_TIMEOUT": PATIENCE,
    "musterd.ctl.client.CONNECT_TIMEOUT": PATIENCE,
}


def be_patient_as_musterctl() -> None:
    _set(_CTL)
    from musterd.ctl.client import Client

    for method in (Client.call, Client.manager):
        _wait_longer(method)


def main() -> int:
    _set({**PATIENCES, **_MORE})
    from musterd.bus.connection import BusConnection
    from musterd.bus.driver import ask

    for method in (ask, BusConnection.call):
        _wait_longer(method)
    BusConnection.probe.__defaults__ = (PATIENCE,)
    from musterd.main import main as run

    return run()


def _set(values: Mapping[str, object]) -> None:
    for target, value in values.items():
        module, _, name = target.rpartition(".")
        setattr(import_module(module), name, value)


def _wait_longer(call: Callable[..., object]) -> None:
    """By default."""
    assert isinstance(call, FunctionType)
    assert call.__kwdefaults__
    assert call.__kwdefaults__["within"]
    call.__kwdefaults__["within"] = PATIENCE


if __name__ == "__main__":
    sys.exit(main())
