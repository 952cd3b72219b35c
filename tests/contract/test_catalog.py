"""`journalctl -x` has something to say of each event that has an id."""

import re
import subprocess
from pathlib import Path

from musterd.bus.reaper_iface import KINDS
from musterd.host.journal import MESSAGE_IDS

CATALOG = Path(__file__).parents[2] / "packaging" / "musterd.catalog"


def test_each_id_is_explained_and_no_other() -> None:
    assert re.findall(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), re.MULTILINE) == list(
        MESSAGE_IDS.values()
    )
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)


def test_history_of_the_reaper_has_what_it_did() -> None:
    """An operator who is told that it disarmed itself looks there for the reason."""
    did = {
        "prepare",
        "cancelled",
        "would-reap",
        "reaped",
        "end-failed",
        "auto-disabled",
        "mode",
        "reclaimed",
    }
    assert did <= set(KINDS) <= set(MESSAGE_IDS)


def test_systemd_takes_the_catalog(tmp_path: Path) -> None:
    directory = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    directory.mkdir(parents=True)
    (directory / "musterd.catalog").write_text(CATALOG.read_text())
    (tmp_path / "var" / "lib" / "systemd" / "catalog").mkdir(parents=True)
    root = f"--root={tmp_path}"
    subprocess.run(["journalctl", root, "--update-catalog"], check=True, capture_output=True)
    done = subprocess.run(
        ["journalctl", root, "--dump-catalog", MESSAGE_IDS["reaped"]],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "to give memory back" in done.stdout
