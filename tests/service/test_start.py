"""In which order the daemon of the system starts."""

from pathlib import Path

import pytest

from musterd import compose, system
from musterd.core.config import Config
from musterd.options import Options
from musterd.warden.census import Census


async def test_nobody_is_looked_for_before_there_is_a_bus_to_start_wardens_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = list[Census]()

    class Noted(Census):
        async def run(self) -> None:
            taken.append(self)

    monkeypatch.setattr(system, "Census", Noted)
    options = Options(True, "unix:path=/nonexistent", "", str(tmp_path), "info", False)
    assert await compose.serve(options, Config()) == 1
    assert taken == []
