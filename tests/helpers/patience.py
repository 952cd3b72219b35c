"""What parts of the daemon wait for in tests: real programs, which a busy machine may keep waiting.

For those that run within a test; and, as a program, `python -m musterd` with that patience. A test of such a
patience sets that one itself.
"""

import sys
from importlib import import_module

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


# What a test waits for itself, where the daemon is in the same process.
_MORE = {"musterd.warden.prompt.PROMPT_WAIT": PATIENCE}


def main() -> int:
    for target, value in {**PATIENCES, **_MORE}.items():
        module, _, name = target.rpartition(".")
        setattr(import_module(module), name, value)
    from musterd.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
