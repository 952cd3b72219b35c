"""Memory of a scope, on plain files: not every kernel that runs this has the controller in cgroup v2."""

from pathlib import Path

import pytest

from musterd.host import cgroup

MIB = 1024 * 1024


@pytest.fixture
def scope(tmp_path: Path) -> Path:
    (tmp_path / "memory.current").write_text(f"{300 * MIB}\n")
    return tmp_path


@pytest.mark.parametrize(("text", "bytes_held"), [("4096\n", 4096), ("max\n", 0), ("", 0)])
def test_what_it_holds_is_read(scope: Path, text: str, bytes_held: int) -> None:
    (scope / "memory.current").write_text(text)
    assert cgroup.held(str(scope)) == bytes_held


def test_one_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert cgroup.held(str(tmp_path / "gone")) == 0


def test_nothing_is_asked_where_there_is_no_control(scope: Path) -> None:
    cgroup.reclaim(str(scope))
    assert [path.name for path in scope.iterdir()] == ["memory.current"]


def test_it_asks_for_a_portion_and_stops_when_nothing_comes_back(scope: Path) -> None:
    (scope / "memory.reclaim").write_text("")
    cgroup.reclaim(str(scope))
    assert (scope / "memory.reclaim").read_text() == str(16 * MIB)


def test_it_asks_for_no_more_than_there_is(scope: Path) -> None:
    (scope / "memory.current").write_text("4096\n")
    (scope / "memory.reclaim").write_text("")
    cgroup.reclaim(str(scope))
    assert (scope / "memory.reclaim").read_text() == "4096"


def test_nothing_is_asked_where_it_is_not_told_what_it_holds(scope: Path) -> None:
    (scope / "memory.current").write_text("max\n")
    (scope / "memory.reclaim").write_text("")
    cgroup.reclaim(str(scope))
    assert (scope / "memory.reclaim").read_text() == ""
