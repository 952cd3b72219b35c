"""The command line of musterd."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from musterd import __version__
from musterd.host.configfiles import SYSTEM_CONFIG, user_config, xdg

SYSTEM_STATE = "/var/lib/musterd"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decided."""

    is_system: bool
    bus: str
    config_file: str
    is_config_named: bool  # by --config: then it has to be there
    state_dir: str
    log_level: str
    check_config: bool


def parse_arguments(argv: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="musterd", description="Keeps the roll of the AI coding agents on this machine."
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--system", action="store_true", help="serve all users, on the system bus (default)")
    scope.add_argument("--user", action="store_true", help="serve the calling user, on the session bus")
    bus = os.environ.get("MUSTERD_BUS", "")
    parser.add_argument("--bus", metavar="ADDRESS", default=bus, help="serve on this bus")
    parser.add_argument("--config", metavar="FILE", default="", help="this configuration, and FILE.d/*.toml")
    parser.add_argument("--state-dir", metavar="DIR", default="", help="keep state there")
    parser.add_argument(
        "--log-level", metavar="LEVEL", default="info", choices=("debug", "info", "warning", "error")
    )
    parser.add_argument("--check-config", action="store_true", help="report mistakes, and exit")
    parser.add_argument("--version", action="version", version=f"musterd {__version__}")
    given = parser.parse_args(argv)
    state = os.environ.get("STATE_DIRECTORY", "") or SYSTEM_STATE
    user_state = str(xdg("XDG_STATE_HOME", ".local/state") / "musterd")
    return Options(
        is_system=not given.user,
        bus=given.bus or ("session" if given.user else "system"),
        config_file=given.config or (user_config() if given.user else SYSTEM_CONFIG),
        is_config_named=bool(given.config),
        state_dir=str(Path(given.state_dir or (user_state if given.user else state)).absolute()),
        log_level=given.log_level,
        check_config=given.check_config,
    )
