"""musterd, the program: arguments, logging, configuration, then `service`."""

import musterd.lean  # noqa: F401 - before all others: it keeps the program small

# isort: split
import asyncio
import logging
import resource
import sys

from musterd.core.config import Config, Mistake
from musterd.host.configfiles import read_config
from musterd.host.journal import setup_logging
from musterd.options import Options, parse_arguments

logger = logging.getLogger(__name__)


def load_config(options: Options) -> tuple[Config, list[Mistake]]:
    """Mistakes are warned of; what is wrong keeps its default."""
    config, mistakes = read_config(options.config_file, is_named=options.is_config_named)
    for mistake in mistakes:
        logger.warning("%s", mistake)
    return config, mistakes


def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    if options.check_config:
        _, mistakes = read_config(options.config_file, is_named=options.is_config_named)
        for mistake in mistakes:
            print(mistake, file=sys.stderr)  # noqa: T201 - what the option is for
        return 1 if mistakes else 0
    setup_logging(options.log_level)
    _raise_fd_limit()
    from musterd.compose import serve  # after the cheap ways out: it imports the D-Bus library

    return asyncio.run(serve(options, *load_config(options)))


def _raise_fd_limit() -> None:
    """A watched session takes an fd; the soft limit is for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
