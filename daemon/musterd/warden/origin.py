"""How an agent was started: what it takes to start it again where it finds its settings."""

from dataclasses import dataclass

from musterd.core.session import Session
from musterd.host.process import read_environ

# Where an agent finds its settings and conversations. Never what lets it in somewhere: keys come from the
# place in which it is started.
STATE = (
    "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME",
    "CLAUDE_CONFIG_DIR", "CODEX_HOME", "OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR",
    "PI_CODING_AGENT_DIR", "PI_CODING_AGENT_SESSION_DIR", "PI_PACKAGE_DIR",
)  # fmt: skip
REMEMBERED = (*STATE, "PATH", "_")  # `_` is the path by which a shell started it

VALUE_LIMIT = 4_096  # characters, as PATH_MAX; a longer one is not remembered


@dataclass(frozen=True, slots=True)
class Origin:
    """The words and the program of a leader, or of its launcher."""

    command: tuple[str, ...] = ()
    executable: str = ""


def environ_of(pid: int) -> tuple[str, ...]:
    """NAME=VALUE for each name in REMEMBERED that it was started with."""
    there = read_environ(pid, REMEMBERED)
    return tuple(f"{name}={there[name]}" for name in REMEMBERED if name in there and _is_kept(there[name]))


def _is_kept(value: str) -> bool:
    """Not what is no UTF-8: it could only be given back mangled."""
    return "\ufffd" not in value and len(value) <= VALUE_LIMIT


def remembered(session: Session) -> dict[str, str]:
    """Its environment, by name; no file of ours can bring another name in."""
    pairs = (text.partition("=") for text in session.environ)
    return {name: value for name, _, value in pairs if name in REMEMBERED}
