"""musterd, the program: arguments, logging, configuration, then `service`."""

import argparse
import asyncio
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from musterd import __version__
from musterd.core.config import Config
from musterd.host.configfiles import SYSTEM_CONFIG, read_config, user_config, xdg
from musterd.host.journal import setup_logging

logger = logging.getLogger(__name__)

SYSTEM_STATE = "/var/lib/musterd"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decided."""

    is_system: bool
    bus: str
    config_file: str
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
    parser.add_argument("--bus", metavar="ADDRESS", default=os.environ.get("MUSTERD_BUS", ""), help="this bus")
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
        state_dir=str(Path(given.state_dir or (user_state if given.user else state)).absolute()),
        log_level=given.log_level,
        check_config=given.check_config,
    )


def load_config(file: str) -> Config:
    """Mistakes are warned of; what is wrong keeps its default."""
    config, mistakes = read_config(file)
    for mistake in mistakes:
        logger.warning("%s", mistake)
    return config


def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    if options.check_config:
        _, mistakes = read_config(options.config_file)
        for mistake in mistakes:
            print(mistake, file=sys.stderr)  # noqa: T201 - what the option is for
        return 1 if mistakes else 0
    setup_logging(options.log_level)
    from musterd.service import serve  # after the cheap ways out: it imports the D-Bus library

    return asyncio.run(serve(options, load_config(options.config_file)))


if __name__ == "__main__":
    sys.exit(main())
