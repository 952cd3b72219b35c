"""Manual pages: they format without a complaint, and say what the code does."""

import subprocess
import sys
from pathlib import Path

import pytest

from musterd.options import parse_arguments

ROOT = Path(__file__).parents[2]
MAN = ROOT / "packaging/man"


@pytest.mark.parametrize("page", sorted(MAN.iterdir()), ids=lambda page: page.name)
def test_page_formats_without_a_complaint(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_page_of_the_configuration_is_that_of_the_table() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "packaging/config_page.py"], capture_output=True, text=True, check=True
    )
    assert (MAN / "musterd.toml.5").read_text() == made.stdout


def test_page_of_the_daemon_has_all_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    offered = {
        word.strip("[],") for word in capsys.readouterr().out.split() if word.startswith(("--", "[--"))
    }
    text = (MAN / "musterd.8").read_text().replace("\\-", "-")
    assert [option for option in sorted(offered - {"--help"}) if option not in text] == []
