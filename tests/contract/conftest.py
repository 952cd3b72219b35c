"""The daemon whose answers are compared with what is written."""

from collections.abc import Iterator

import pytest

from helpers.installation import Installation, running_musterd


@pytest.fixture(scope="module")
def musterd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with running_musterd(tmp_path_factory.mktemp("musterd")) as installation:
        yield installation
