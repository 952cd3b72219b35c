"""The configuration: one table of sections, keys, defaults and help, and the reader of files.

Each field below is a row. The manual page and the example file are checked against them.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from .settings import Parser, count, flag, globs, one_of, path, percent, size, span, words

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in one file, with the line where it stands (0 if it could not be told)."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


def _option(default: T, parse: Parser[T], text: str) -> T:
    return field(default=default, metadata={"parse": parse, "help": text})


@dataclass(frozen=True, slots=True)
class PressureConfig:
    psi_path: str = _option(
        "/proc/pressure/memory",
        path,
        "Pressure file to follow. A plain file of the same format is read once a second.",
    )
    meminfo_path: str = _option("/proc/meminfo", path, "Where total and available memory are read.")
    elevated_some: float = _option(
        10.0, percent, "Tier elevated from this 'some avg10' on, per cent of time."
    )
    elevated_available: float = _option(
        10.0, percent, "Tier elevated also with no more memory available than this, per cent of all."
    )
    critical_full: float = _option(
        10.0, percent, "Tier critical from this 'full avg10' on, per cent of time."
    )
    critical_available: float = _option(
        5.0, percent, "Tier critical also with no more memory available than this, per cent of all."
    )
    dwell: float = _option(30.0, span, "How long pressure must stay lower before the tier falls.")


@dataclass(frozen=True, slots=True)
class ReaperConfig:
    min_age: float = _option(
        600.0, span, "Younger sessions, and those resumed less than that ago, are kept."
    )
    quiet_elevated: float = _option(
        1800.0,
        span,
        "Quiet time that the tiers normal and elevated ask for. As all times of sessions, without suspends.",
    )
    quiet_critical: float = _option(600.0, span, "Quiet time that the tier critical asks for.")
    recent_user: float = _option(
        900.0, span, "A terminal with a key stroke more recent than that is in use."
    )
    grace: float = _option(30.0, span, "Between the two looks, and between announcement and end.")
    inhibit_delay_max: float = _option(5.0, span, "How long a delay inhibitor can hold an end up.")
    post_action_delay: float = _option(15.0, span, "Pause after each reap: averages of pressure lag behind.")
    budget_per_hour: int = _option(6, count, "Reaps in one hour at the most, of all users together.")
    leftovers: str = _option(
        "report",
        one_of("report", "end"),
        "What to do with processes of dead sessions while memory is short: 'report' or 'end' them.",
    )
    worktree_policy: str = _option(
        "note",
        one_of("note", "keep"),
        "What uncommitted work does: 'note' writes it down before an end, 'keep' keeps its session.",
    )
    protect: tuple[str, ...] = _option(
        (), globs, "Sessions never reaped: 'title:', 'cwd:' or 'agent:' + glob."
    )


@dataclass(frozen=True, slots=True)
class StopGateConfig:
    hook_timeout: float = _option(
        1.5,
        span,
        "How long an agent's hook takes: the stop gate answers half a second before that. The hook knows "
        "MUSTERD_HOOK_TIMEOUT of its agent's environment instead, or 1.5 s; who wants more sets both, "
        "to no more than the agent waits for a hook: musterd-hook(1).",
    )
    check_command: tuple[str, ...] = _option(
        (),
        words,
        "The operator's own check of a session with an open claim, run as its user in its directory: "
        "status 1 adds what it printed to the reasons that the agent is told, 0 adds none, any other "
        "lets it stop. MUSTERD_CHECK_SESSION, _AGENT and _AGENT_SESSION say whom it is about.",
    )
    check_timeout: float = _option(1.0, span, "A check that takes longer is ended, and lets it stop.")


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    enabled: bool = _option(True, flag, "Find agents that nobody registered.")
    interval: float = _option(30.0, span, "Between two sweeps where no event tells of a new agent.")

    @property
    def period(self) -> float | None:
        """Seconds between two sweeps; None where there are none."""
        return self.interval if self.enabled else None


@dataclass(frozen=True, slots=True)
class EventsConfig:
    keep: float = _option(2592000.0, span, "Age at which events, and ended sessions, are forgotten.")
    max_size: int = _option(64 * 2**20, size, "Size of the event log in bytes at the most.")


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    sessions_per_user: int = _option(200, count, "Live sessions of one user at the most.")
    sessions: int = _option(10000, count, "Live sessions in all.")
    claims_per_session: int = _option(16, count, "Active claims of one session at the most.")
    claims_per_user: int = _option(256, count, "Active claims of one user at the most.")
    claims: int = _option(4096, count, "Active claims in all.")


@dataclass(frozen=True, slots=True)
class Config:
    pressure: PressureConfig = field(default_factory=PressureConfig)
    reaper: ReaperConfig = field(default_factory=ReaperConfig)
    stop_gate: StopGateConfig = field(default_factory=StopGateConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    events: EventsConfig = field(default_factory=EventsConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the table, as the manual page and the example file have to tell it."""

    section: str
    key: str
    default: object
    help: str


def options() -> list[Option]:
    config = Config()
    return [
        Option(_toml_name(section.name), _toml_name(row.name), row.default, row.metadata["help"])
        for section in fields(config)
        for row in fields(getattr(config, section.name))
    ]


def parse_config(files: Mapping[str, str]) -> tuple[Config, list[Mistake]]:
    """Texts by file name, later ones win key by key -> the configuration, and all mistakes in all files.

    A bad value leaves the value that an earlier file or the default gave.
    """
    mistakes: list[Mistake] = []
    values: dict[str, dict[str, object]] = {}
    for file, text in files.items():
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            match = re.search(r"\(at line (\d+)", str(exc))
            mistakes.append(Mistake(file, int(match[1]) if match else 0, f"not TOML: {exc}"))
            continue
        mistakes += _read_document(file, text, document, values)
    sections = {
        section.name: type(getattr(Config(), section.name))(**values.get(section.name, {}))
        for section in fields(Config)
    }
    return Config(**sections), mistakes


def _read_document(
    file: str, text: str, document: Mapping[str, object], values: dict[str, dict[str, object]]
) -> list[Mistake]:
    mistakes: list[Mistake] = []
    known = {_toml_name(section.name): section.name for section in fields(Config)}
    for name, table in document.items():
        if name not in known:
            mistakes.append(Mistake(file, _line_of(text, name), f"unknown section '{name}', ignoring"))
        elif not isinstance(table, dict):
            mistakes.append(Mistake(file, _line_of(text, name), f"'{name}' is not a section, ignoring"))
        else:
            read, wrong = _read_section(known[name], table)
            values.setdefault(known[name], {}).update(read)
            mistakes += [Mistake(file, _line_of(text, key, name), said) for key, said in wrong]
    return mistakes


def _read_section(
    section: str, table: Mapping[str, object]
) -> tuple[Mapping[str, object], Sequence[tuple[str, str]]]:
    """Values by field, and the keys that are wrong, with what is wrong with each."""
    read: dict[str, object] = {}
    wrong: list[tuple[str, str]] = []
    rows = {_toml_name(row.name): row for row in fields(getattr(Config(), section))}
    for key, value in table.items():
        if key not in rows:
            wrong.append((key, f"unknown key '{key}' in [{_toml_name(section)}], ignoring"))
            continue
        try:
            read[rows[key].name] = rows[key].metadata["parse"](value)
        except ValueError as exc:
            wrong.append((key, f"{key}: {exc}, ignoring"))
    return read, wrong


def _toml_name(name: str) -> str:
    return name.replace("_", "-")


def _line_of(text: str, key: str, section: str = "") -> int:
    """The line where `key` of `section` is set: tomllib tells no positions."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        if header:
            current = header[1].strip("\"'")
            if current == key and not section:
                return number
        elif current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return number
    return 0
