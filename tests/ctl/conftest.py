"""One daemon for all tests of a module; each has sessions of its own, which are off the roll afterwards."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from helpers.installation import Installation, running_musterd, some_process

Enrol = Callable[..., str]


@pytest.fixture(scope="module")
def musterd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with running_musterd(tmp_path_factory.mktemp("musterd")) as installation:
        yield installation


@pytest.fixture
def enrol(musterd: Installation) -> Iterator[Enrol]:
    """Registers a new process with options of `musterctl register`, and returns the session's id."""
    with ExitStack() as stack:

        def register(*args: str) -> str:
            session_id = musterd.register(stack.enter_context(some_process()), *args)
            stack.callback(musterd.ctl, "release", session_id)
            return session_id

        yield register
