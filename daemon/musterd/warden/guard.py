"""What goes wrong with one session stays with it, and what goes wrong with a request is refused."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from musterd.agents.base import Adapter
from musterd.core.errors import Failed, MusterError, reason

logger = logging.getLogger(__name__)


class Mistakes:
    """Of adapters. Each kind is logged once, however many sessions meet it."""

    def __init__(self) -> None:
        self._told: set[tuple[str, type[Exception]]] = set()

    def why(self, adapter: Adapter, exc: Exception) -> str:
        """In a few words, for an Unknown; what is no error of the system is the adapter's."""
        if isinstance(exc, OSError):
            return reason(exc)
        if (kind := (adapter.agent, type(exc))) not in self._told:
            self._told.add(kind)
            logger.error("The adapter of %s made a mistake, ignoring", adapter.agent, exc_info=exc)
        return type(exc).__name__


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever goes wrong within becomes `Failed`; nobody who asks has to expect more than a MusterError."""
    try:
        yield
    except MusterError:
        raise
    except OSError as exc:
        raise Failed(f"{what}: {reason(exc)}.") from exc
    except Exception as exc:
        logger.exception("%s", what)
        raise Failed(f"{what}: {type(exc).__name__}.") from exc
