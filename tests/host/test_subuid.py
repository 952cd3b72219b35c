"""Which uids are lent to users for their user namespaces."""

from pathlib import Path

from musterd.host.subuid import is_subordinate


def test_lent_uids_are_those_of_the_ranges(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("alice:100000:65536\n\nnonsense\nbob:x:y\n# a comment:1:2:3\n1001:200000:10\n")
    lent = {uid: is_subordinate(uid, str(file)) for uid in (0, 1000, 99999, 100000, 165535, 165536, 200009)}
    assert [uid for uid, is_lent in lent.items() if is_lent] == [100000, 165535, 200009]


def test_where_there_is_no_file_none_is_lent(tmp_path: Path) -> None:
    assert not is_subordinate(100000, str(tmp_path / "subuid"))
