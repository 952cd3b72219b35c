"""Where the configuration is: one file, and the drop-ins beside it."""

import os
from pathlib import Path

from musterd.core.config import Config, Mistake, parse_config

SYSTEM_CONFIG = "/etc/musterd/musterd.toml"
MAX_FILE = 256 * 1024  # bytes; a configuration is not larger


def user_config() -> str:
    return str(xdg("XDG_CONFIG_HOME", ".config") / "musterd" / "musterd.toml")


def xdg(variable: str, default: str) -> Path:
    """A directory of the XDG base directory specification: relative values count as unset."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


def read_config(path: str, *, is_named: bool = False) -> tuple[Config, list[Mistake]]:
    """The file and its drop-ins in order of their names. None has to be there, but one that was named."""
    texts: dict[str, str] = {}
    mistakes: list[Mistake] = []
    drop_ins = Path(f"{path}.d")
    try:
        extra = sorted(p for p in drop_ins.iterdir() if p.suffix == ".toml")
    except FileNotFoundError:
        extra = []
    except OSError as exc:
        mistakes.append(Mistake(str(drop_ins), 0, f"cannot be read: {exc.strerror}, ignoring"))
        extra = []
    for file in (Path(path), *extra):
        try:
            texts[str(file)] = _text(file)
        except FileNotFoundError:
            if is_named and file == Path(path):
                mistakes.append(Mistake(str(file), 0, "there is no such file, ignoring"))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            mistakes.append(Mistake(str(file), 0, f"cannot be read: {reason}, ignoring"))
    config, wrong = parse_config(texts)
    return config, mistakes + wrong


def _text(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"it is larger than {MAX_FILE} bytes")
    return data.decode()
