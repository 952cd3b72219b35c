"""The daemon of the system with real users. Only root can play them all: CI is root."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.users import shared_directory, shared_library


@pytest.fixture(scope="session")
def library() -> Iterator[Path]:
    with shared_library() as library:
        yield library


@pytest.fixture
def directory(library: Path) -> Iterator[Path]:
    with shared_directory() as directory:
        (directory / "lib").symlink_to(library)
        yield directory
