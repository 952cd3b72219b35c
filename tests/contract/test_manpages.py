"""The manual pages: they have all that the programs take, and look well in a terminal of 80 columns."""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from musterd.core.config import options
from musterd.ctl.parser import build
from musterd.host.journal import MESSAGE_IDS
from musterd.notifier.main import parse_arguments as arguments_of_notifier
from musterd.options import parse_arguments as arguments_of_daemon
from musterd.warden.service import parse_arguments as arguments_of_warden

ROOT = Path(__file__).parents[2]
PAGES = sorted(file.name.removesuffix(".in") for file in (ROOT / "packaging/man").iterdir())
NAME = "org.musterd.Muster1"


@pytest.fixture(scope="module")
def man(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as they are installed."""
    directory = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "packaging/manpages.py", directory], check=True)
    return directory


def shown(page: Path) -> str:
    """As a terminal of 80 columns shows it."""
    done = subprocess.run(
        ["man", "--warnings", "--encoding=UTF-8", "--local-file", page],
        env={"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_into_80_columns(man: Path, name: str) -> None:
    assert [line for line in shown(man / name).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_complain_about(man: Path, name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", man / name], capture_output=True, text=True, check=False
    )
    # As with systemd's own: the version tells how old it is, and is right.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_of_this_version(man: Path, name: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'"musterd {version}"' in (man / name).read_text().partition("\n")[0]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_refers_to_is_there(man: Path, name: str) -> None:
    text = re.sub(r"\\f[BRI]|\\&", "", (man / name).read_text().replace("\\-", "-"))
    referred = re.findall(r"\b((?:muster|org\.muster)[\w.-]*) ?\((\d)\)", text)
    assert {f"{page}.{section}" for page, section in referred} <= set(PAGES)


def test_each_unit_has_a_page_under_its_own_name(man: Path) -> None:
    leads = {file.stem: file.read_text() for file in man.iterdir() if file.name not in PAGES}
    assert set(leads) == {unit.name for unit in (ROOT / "units").glob("**/*.service")}
    led_to = [re.fullmatch(r"\.so man(\d)/(.+\.\1)\n", text) for text in leads.values()]
    assert {match and match[2] for match in led_to} <= set(PAGES)


def test_what_units_and_catalog_refer_to_is_there() -> None:
    files = [*(ROOT / "units").glob("**/*.service"), ROOT / "packaging/musterd.catalog"]
    referred = {page for file in files for page in re.findall(r"man:(\S+)\((\d)\)", file.read_text())}
    assert {f"{page}.{section}" for page, section in referred} <= set(PAGES)
    assert ("musterd", "8") in referred


# musterctl(1), musterd(8), musterd-notify(1): what the parsers take.


def words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """All verbs, and all options of each."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield name
                yield from words(sub)
        yield from action.option_strings


def missing(text: str, wanted: Sequence[str]) -> list[str]:
    return [word for word in wanted if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]


def test_musterctl_has_every_verb_and_option(man: Path) -> None:
    assert missing(shown(man / "musterctl.1"), sorted(set(words(build())))) == []


@pytest.mark.parametrize(
    ("name", "parse"),
    [
        ("musterd.8", arguments_of_daemon),
        ("musterd-notify.1", arguments_of_notifier),
        ("musterd-warden.8", arguments_of_warden),
    ],
)
def test_a_program_has_every_option(
    man: Path, name: str, parse: Callable[[list[str]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    wanted = sorted(set(re.findall(r"--[\w-]+", capsys.readouterr().out)))
    assert len(wanted) > 4
    assert missing(shown(man / name), wanted) == []


# What is put together from elsewhere has all of it.


def test_musterd_toml_has_every_option_with_its_help(man: Path) -> None:
    text = " ".join(shown(man / "musterd.toml.5").split())
    assert [option.key for option in options() if f"{option.key} = " not in text] == []
    assert [option.key for option in options() if option.help not in text] == []


def test_musterd_has_every_message_id(man: Path) -> None:
    assert missing(shown(man / "musterd.8"), list(MESSAGE_IDS.values())) == []


@pytest.mark.parametrize("interface", ["Manager", "Session", "Reaper", "StopGate"])
def test_the_page_of_the_interface_has_every_member_with_its_prose(man: Path, interface: str) -> None:
    xml = (ROOT / f"dbus/{NAME}.{interface}.xml").read_text()
    text = shown(man / f"{NAME}.5")
    assert missing(text, re.findall(r'<(?:method|signal|property|arg) name="(\w+)"', xml)) == []
    prose = re.findall(r"<!--(.*?)-->", xml, re.DOTALL)
    assert set(re.findall(r"[A-Za-z]{4,}", "".join(prose))) <= set(re.findall(r"[A-Za-z]{4,}", text))


def test_each_program_has_a_page() -> None:
    programs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    named = {page.rpartition(".")[0] for page in PAGES}
    assert set(programs) | {"musterd-hook"} <= named
