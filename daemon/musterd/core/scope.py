"""The scope of an agent: all that it starts is in there, and an end takes that (systemd.scope(5))."""

import re

# No other unit's processes are ever ended together.
UNIT = re.compile(r"musterd-[^/]+\.scope")

# From this version on systemd-run is to be told whether to expand variables in the arguments of a scope.
EXPANDS = 254


def scope_words(token: str, *, is_user: bool, knows_expansion: bool) -> list[str]:
    """What stands before a command to start it in a scope of its own; `token` is of this start alone."""
    manager = ["--user"] if is_user else []
    expanding = ["--expand-environment=no"] if knows_expansion else []
    unit = f"--unit=musterd-{token}.scope"
    return ["systemd-run", *manager, "--scope", "--quiet", "--collect", unit, *expanding, "--"]


def knows_expansion(version: str) -> bool:
    """Of what `systemd-run --version` prints."""
    words = version.split()
    return len(words) > 1 and words[1].isdecimal() and int(words[1]) >= EXPANDS
