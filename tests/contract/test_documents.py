"""README, ARCHITECTURE and HACKING tell what is there."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.installation import Installation, some_process
from musterd.core.gates import CASE_GATES, WORLD_GATES
from musterd.ctl.parser import VERBS, build

ROOT = Path(__file__).parents[2]
DAEMON = ROOT / "daemon/musterd"
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
HACKING = (ROOT / "HACKING.md").read_text()


def commands(document: str) -> Iterator[str]:
    """What is to be typed: lines of blocks of shell code, and what follows `$ `, without comments."""
    for language, block in re.findall(r"```(\w*)\n(.*?)```", document, re.DOTALL):
        for line in block.splitlines():
            if language == "sh" or line.startswith("$ "):
                yield line.removeprefix("$ ").partition(" #")[0].strip()
    yield from re.findall(r"`((?:make|musterctl) [^`]+)`", document)


@pytest.mark.parametrize("document", [README, HACKING], ids=["README", "HACKING"])
def test_every_target_that_is_named_is_one(document: str) -> None:
    targets = {words[1] for words in map(str.split, commands(document)) if words[0] == "make"}
    assert len(targets) > 2
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("document", [README, HACKING], ids=["README", "HACKING"])
def test_musterctl_takes_every_command_that_is_named(document: str) -> None:
    typed = [shlex.split(line)[1:] for line in commands(document) if "musterctl " in line.split("|")[0]]
    assert len(typed) > 2
    for words in typed:
        known = words[: words.index("--")] if "--" in words else words
        build().parse_args(known)


def test_the_picture_in_the_readme_is_what_musterctl_shows(musterd: Installation) -> None:
    with some_process() as process:
        session_id = musterd.register(process)
        listed, explained = musterd.ctl("list"), musterd.ctl("explain", session_id)
        musterd.ctl("release", session_id)
    heading, *_ = listed.stdout.splitlines()
    assert heading.split() in [line.split() for line in README.splitlines()]
    assert re.search(r"^1 session: .* in all\.$", listed.stdout, re.MULTILINE)
    assert re.search(r"^4 sessions: .* in all\.$", README, re.MULTILINE)
    (heading,) = [line for line in explained.stdout.splitlines() if "EVIDENCE" in line]
    assert heading.split() in [line.split() for line in README.splitlines()]


def test_the_readme_names_every_verb_and_counts_the_gates() -> None:
    assert [verb.name for verb in VERBS if f"`{verb.name}`" not in README] == []
    assert f"{len(CASE_GATES + WORLD_GATES)} gates" in README


def test_the_version_that_the_readme_installs_is_this_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"musterd_([\d.]+)_all\.deb", README) == [version]


@pytest.mark.parametrize(
    "document", [README, ARCHITECTURE, HACKING], ids=["README", "ARCHITECTURE", "HACKING"]
)
def test_each_link_leads_somewhere(document: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", document) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_code_map_names_each_package_and_each_module_beside_them() -> None:
    there = [path for path in sorted(DAEMON.iterdir()) if not path.name.startswith("_")]
    named = [f"{path.name}/" if path.is_dir() else path.name for path in there]
    assert [name for name in named if f"`{name}`" not in ARCHITECTURE] == []


def test_each_file_that_the_documents_name_is_there() -> None:
    """A module may stand alone in brackets, as the one of the package that its row is about."""
    files = set(re.findall(r"`([\w./-]+\.(?:py|xml|conf|toml|md))`", ARCHITECTURE + HACKING))
    assert len(files) > 20
    roots = [ROOT, DAEMON, *(path for path in DAEMON.iterdir() if path.is_dir())]
    assert sorted(name for name in files if not any((root / name).exists() for root in roots)) == []


def test_who_may_import_whom_is_what_the_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if "layers" in contract]
    held = [layer.replace("musterd.", "") for layer in layers if layer != "musterd.__main__"]
    (shown,) = re.findall(r"```\n(main .*?)```", ARCHITECTURE, re.DOTALL)
    assert [layer.strip() for layer in shown.split("→")] == held
