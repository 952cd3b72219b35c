"""Completions offer just what the parser takes, in real shells."""

import argparse
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from musterd.ctl.parser import build

ROOT = Path(__file__).parents[2]
COMPLETIONS = ROOT / "packaging/completions"
ZSH = ROOT / "tests/helpers/offered.zsh"

# What needs a daemon is answered by this one.
MUSTERCTL = """#!/bin/sh
case "$*" in
*"claim list"*)
    echo "c5d0c1f2e  k3v9qd   active     0 of 3  -  port the parser"
    echo "c77e1a90b  k3v9qd   done       1 of 3  -  active and done" ;;
*--all*) echo k3v9qd; echo p8xw2m ;;
*) echo k3v9qd ;;
esac
"""

Offers = dict[str, set[str]]
Shell = Callable[[Sequence[str], Path], Offers]


def bash(lines: Sequence[str], home: Path) -> Offers:
    script = [f"source {COMPLETIONS}/musterctl.bash"]
    for line in lines:
        words = line.split(" ")
        script += [
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}",
            '_musterctl; echo "${COMPREPLY[*]}"',
        ]
    shown = run(home, "bash", "--norc", "--noprofile", "-c", "\n".join(script))
    return {line: set(offered.split()) for line, offered in zip(lines, shown.split("\n"), strict=False)}


def zsh(lines: Sequence[str], home: Path) -> Offers:
    shown = run(home, "zsh", "-f", str(ZSH), str(COMPLETIONS), *lines)
    return {line: set(offered.split()) for line, offered in zip(lines, shown.split("=\n"), strict=False)}


def fish(lines: Sequence[str], home: Path) -> Offers:
    script = [f"source {COMPLETIONS}/musterctl.fish"]
    script += [f"complete -C {shlex.quote(line)} | string split -f 1 \\t; echo =" for line in lines]
    shown = run(home, "fish", "--no-config", "-c", "\n".join(script))
    return {line: set(offered.split()) for line, offered in zip(lines, shown.split("=\n"), strict=False)}


def run(home: Path, *command: str) -> str:
    done = subprocess.run(
        command, env={"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin", "TERM": "xterm"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "musterctl").write_text(MUSTERCTL)
    (tmp_path / "musterctl").chmod(0o755)
    return tmp_path


def parsers(parser: argparse.ArgumentParser, path: str = "musterctl") -> Iterator[tuple[str, Offers]]:
    """What each line is to offer: options, verbs, the choices of an argument or of an option."""
    actions = parser._actions
    long = {option for action in actions for option in action.option_strings if option.startswith("--")}
    yield path, {f"{path} --": long}
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            yield path, {f"{path} ": set(action.choices)}
            for name, sub in action.choices.items():
                yield from parsers(sub, f"{path} {name}")
        elif action.choices:
            where = f"{path} {action.option_strings[0]} " if action.option_strings else f"{path} "
            yield path, {where: set(action.choices)}


@pytest.mark.parametrize("shell", [bash, zsh, fish], ids=lambda shell: shell.__name__)
def test_a_shell_offers_what_the_parser_takes(shell: Shell, home: Path) -> None:
    wanted = {line: words for _, offers in parsers(build()) for line, words in offers.items()}
    assert len(wanted) > 40
    offered = shell(list(wanted), home)
    assert {line: words for line, words in offered.items() if words != wanted[line]} == {}
    assert list(offered) == list(wanted)


@pytest.mark.parametrize("shell", [bash, zsh, fish], ids=lambda shell: shell.__name__)
def test_a_shell_offers_what_is_there(shell: Shell, home: Path) -> None:
    wanted = {
        "musterctl ex": {"explain"},
        "musterctl explain ": {"k3v9qd"},
        "musterctl --user explain k": {"k3v9qd"},
        "musterctl --bus unix:path=/bus status ": {"k3v9qd", "p8xw2m"},
        "musterctl claim start --session ": {"k3v9qd"},
        "musterctl claim done ": {"c5d0c1f2e"},
        "musterctl hooks install g": {"gemini"},
        "musterctl hook g": {"gemini"},
    }
    assert shell(list(wanted), home) == wanted


def test_bash_leaves_to_others_what_they_know_better(home: Path) -> None:
    assert bash(["musterctl hold x -- ma", "musterctl register --title x"], home) == {
        "musterctl hold x -- ma": set(),
        "musterctl register --title x": set(),
    }
