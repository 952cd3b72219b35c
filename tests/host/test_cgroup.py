"""Memory of a scope, on plain files: not every kernel that runs this has the controller in cgroup v2."""

from pathlib import Path

from musterd.host import cgroup

MIB = 1024 * 1024


def test_nothing_comes_back_where_there_is_no_control(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("4096\n")
    assert cgroup.reclaim(str(tmp_path)) == 0


def test_nothing_comes_back_from_a_scope_that_is_gone(tmp_path: Path) -> None:
    assert cgroup.reclaim(str(tmp_path / "gone")) == 0


def test_it_asks_for_a_portion_and_stops_when_nothing_comes_back(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text(f"{300 * MIB}\n")
    (tmp_path / "memory.reclaim").write_text("")
    assert cgroup.reclaim(str(tmp_path)) == 0
    assert (tmp_path / "memory.reclaim").read_text() == str(64 * MIB)


def test_it_asks_for_no_more_than_there_is(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("4096\n")
    (tmp_path / "memory.reclaim").write_text("")
    assert cgroup.reclaim(str(tmp_path)) == 0
    assert (tmp_path / "memory.reclaim").read_text() == "4096"


def test_what_is_not_a_number_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("max\n")
    (tmp_path / "memory.reclaim").write_text("")
    assert cgroup.reclaim(str(tmp_path)) == 0
