"""Where an agent reads its hooks from, and which of its events matter: what `musterctl hooks` installs."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of an agent's settings: `~/directory`, or `$variable/below` where that variable is set."""

    directory: str
    variable: str
    below: str = ""

    def path(self, home: str, environ: Mapping[str, str]) -> str:
        if base := environ.get(self.variable):
            return f"{base}/{self.below}".rstrip("/")
        return f"{home}/{self.directory}"


@dataclass(frozen=True, slots=True)
class CommandHooks:
    """Hooks that run a command, in the shape that Claude Code began with and Codex and Gemini CLI took over:
    {"hooks": {EVENT: [{"matcher": ..., "hooks": [{"type": "command", "command": ..., "timeout": ...}]}]}}.
    """

    place: Place
    file: str  # below the place
    events: tuple[str, ...]
    limit: int  # seconds that the agent waits; more than the hook needs to give up by itself (1.5 s)
    units: int = 1  # of the agent's own "timeout", in a second
    otherwise: str = ""  # said in our place where we are gone, to an agent that takes that for a "no"
    is_strict: bool = False  # plain JSON only: it reads no file with comments or trailing commas

    @property
    def timeout(self) -> int:
        """The limit as the agent has it in its settings."""
        return self.limit * self.units


@dataclass(frozen=True, slots=True)
class Extension:
    """A program of ours that the agent loads: one file, all of it ours."""

    place: Place
    file: str  # below the place
    source: str  # in extensions/
    limit: float = 2.0  # seconds, its ANSWER_WITHIN


@dataclass(frozen=True, slots=True)
class Installed:
    """One hook of ours as the settings have it; `group` and `index` count from 0."""

    event: str
    group: int
    index: int
    matcher: str | None
    handler: Mapping[str, object]
