"""What parts of the daemon wait for in tests: real programs, which a busy machine may keep waiting.

For those that run within a test; and, as a program, `python -m musterd` with that patience, or, behind the
word "warden", `python -m musterd.warden.service`. A test of such a patience sets that one itself.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from types import FunctionType

from musterd.core.units import USEC_PER_SEC
from musterd.host import programs

PATIENCE = 60.0  # seconds

# A test of what happens when somebody waits in vain says so in the environment of the daemon.
SHORTER = "MUSTERD_TEST_PATIENCE"

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
    "musterd.bus.systemd1.TIMEOUT": PATIENCE,
    "musterd.judge.LOOK_LIFE": 100,
    "musterd.core.seen.RECORD_LAG": round(PATIENCE * USEC_PER_SEC),
    "musterd.reviver.APPEARANCE": PATIENCE,
    "musterd.warden.prompt.PROMPT_WAIT": PATIENCE,
    "musterd.warden.remotes.NONSENSE_PAUSE": 10 * PATIENCE,
    "musterd.warden.revive.LOOKS": (0.3, 0.7, *range(1, round(PATIENCE))),
    "musterd.warden.service.ATTACH_TIMEOUT": PATIENCE,
    "musterd.warden.service.WELCOME_TIMEOUT": PATIENCE,
    "musterd.worktrees.ROUND": PATIENCE,
    "musterd.worktrees.TIMEOUT": PATIENCE,
}
_CTL: dict[str, object] = {
    "musterd.ctl.client.CALL_TIMEOUT": 2 * PATIENCE,  # more than a test has
    "musterd.ctl.client.CONNECT_TIMEOUT": PATIENCE,
}
_VERBS: dict[str, dict[str, object]] = {  # only who uses them loads these
    "doctor": {"musterd.ctl.doctor.CHECK_TIMEOUT": PATIENCE},
    "run": {"musterd.ctl.launch.RECOGNITION": PATIENCE},
}


def be_patient() -> None:
    _set({**PATIENCES, **_MORE})
    from musterd.bus.connection import BusConnection
    from musterd.bus.driver import ask

    for method in (ask, BusConnection.call):
        _wait_longer(method, PATIENCE)
    BusConnection.probe.__defaults__ = (PATIENCE,)
    _wait_for_wardens(float(os.environ.get(SHORTER, PATIENCE)))


def be_patient_as_musterctl() -> None:
    _set(_CTL)
    for verb in _VERBS.keys() & set(sys.argv):
        _set(_VERBS[verb])
    from musterd.ctl.client import Client

    for method in (Client.call, Client.manager):
        _wait_longer(method, 2 * PATIENCE)


def _set(values: Mapping[str, object]) -> None:
    for target, value in values.items():
        module, _, name = target.rpartition(".")
        assert hasattr(import_module(module), name), target
        setattr(import_module(module), name, value)


def _wait_longer(call: Callable[..., object], seconds: float) -> None:
    """By default."""
    assert isinstance(call, FunctionType)
    assert call.__kwdefaults__
    assert call.__kwdefaults__["within"]
    call.__kwdefaults__["within"] = seconds


def _wait_for_wardens(seconds: float) -> None:
    from musterd.warden import line, remotes

    remotes.ARRIVAL_TIMEOUT = remotes.HELLO_TIMEOUT = seconds
    for name, member in line.MEMBERS.items():
        patient = replace(member, within=max(seconds, member.within))
        line.MEMBERS[name] = patient  # type: ignore[index]  # a dictionary


def main() -> int:
    be_patient()
    if sys.argv[1:2] == ["warden"]:
        from musterd.warden.service import main as warden

        return warden(sys.argv[2:])
    from musterd.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
