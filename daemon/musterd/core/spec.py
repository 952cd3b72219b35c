"""What a caller says of a session that it registers: parsed once, all mistakes reported at once."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from musterd.core.errors import InvalidArgs
from musterd.core.event import MAX_TEXT
from musterd.core.session import Agent, SessionId

MAX_WORDS = 256  # entries of one list

_TERMINAL = re.compile(r"tmux:/.*:%[0-9]+|/.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Spec:
    """Keys of RegisterSession; empty values say nothing. pid 0 is the caller."""

    agent: Agent | None = None  # whatever it is recognised as
    pid: int = 0
    cwd: str = ""
    agent_session_id: str = ""
    transcript: str = ""
    terminal: str = ""
    command: tuple[str, ...] = ()
    resume_command: tuple[str, ...] = ()
    title: str = ""
    host: str = ""
    labels: tuple[str, ...] = ()


def parse_spec(values: Mapping[str, object]) -> Spec:
    return Spec(**parsed(values, _KEYS))  # type: ignore[arg-type]  # each key's parser gives its field's type


def parsed(
    values: Mapping[str, object], parsers: Mapping[str, Callable[[object], object]]
) -> dict[str, object]:
    """By field, what each key's parser makes of its value. InvalidArgs says all that is wrong."""
    mistakes: list[str] = []
    fields: dict[str, object] = {}
    for key, value in values.items():
        parse = parsers.get(key)
        if parse is None:
            mistakes.append(f"unknown key '{key[:64]}'")
            continue
        try:
            fields[key.replace("-", "_")] = parse(value)
        except ValueError as exc:
            mistakes.append(f"'{key}' {exc}")
    if mistakes:
        raise InvalidArgs.of(mistakes)
    return fields


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a string")
    if len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT} bytes")
    if "\0" in value:
        raise ValueError("contains a NUL character")
    return value


def path(value: object) -> str:
    if text(value) and not text(value).startswith("/"):
        raise ValueError("is not an absolute path")
    return text(value)


def terminal(value: object) -> str:
    if text(value) and not _TERMINAL.fullmatch(text(value)):
        raise ValueError("is neither tmux:SOCKET:PANE nor the path of a tty")
    return text(value)


def texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("is not a list of strings")
    if len(value) > MAX_WORDS:
        raise ValueError(f"has more than {MAX_WORDS} entries")
    return tuple(text(entry) for entry in value)


def agent(value: object) -> Agent:
    try:
        return Agent(text(value))
    except ValueError:
        raise ValueError(f"is none of {', '.join(Agent)}") from None


def pid(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**22:
        raise ValueError("is not a process id")
    if value == 1:  # everything descends from it: all would be of one session
        raise ValueError("is the process that started all others, and no agent")
    return value


_KEYS: dict[str, Callable[[object], object]] = {
    "agent": agent,
    "pid": pid,
    "cwd": path,
    "agent-session-id": text,
    "transcript": path,
    "terminal": terminal,
    "command": texts,
    "resume-command": texts,
    "title": text,
    "host": text,
    "labels": texts,
}

# Without vowels and look-alikes: no words appear, and it can be read out. The first is a letter, so that the
# id is its own D-Bus path element.
_LETTERS = "bcdfghjkmnpqrstvwxz"
_SYMBOLS = _LETTERS + "23456789"


def new_session_id() -> SessionId:
    """Six symbols: 3·10⁸ ids, drawn until one is free."""
    return SessionId(secrets.choice(_LETTERS) + "".join(secrets.choice(_SYMBOLS) for _ in range(5)))
