"""What the parser takes, the completions know."""

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from musterd.ctl.parser import build

PACKAGING = Path(__file__).parents[2] / "packaging"
COMPLETIONS = ["musterctl.bash", "_musterctl", "musterctl.fish"]


def words() -> Iterator[str]:
    """All verbs, and all long options of each."""
    yield from _words(build())


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield name
                yield from _words(sub)
        yield from (option for option in action.option_strings if option.startswith("--"))


@pytest.mark.parametrize("name", COMPLETIONS)
def test_completions_have_every_verb_and_option(name: str) -> None:
    script = (PACKAGING / "completions" / name).read_text()
    wanted = {word.removeprefix("--") for word in words()}
    assert [word for word in sorted(wanted) if not re.search(rf"(?<![\w]){word}(?![\w-])", script)] == []


def test_the_bash_completion_completes() -> None:
    script = f"""
        source {PACKAGING}/completions/musterctl.bash
        musterctl() {{ echo k3v9qd; }}
        try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _musterctl; echo "${{COMPREPLY[*]}}"; }}
        try musterctl ex
        try musterctl --user explain k
        try musterctl reaper mode d
        try musterctl hold --wh
        try musterctl hold x -- ma
        try musterctl gate kill-switch o
        try musterctl claim start --budget la
        try musterctl claim done k
    """
    bash = shutil.which("bash")
    assert bash
    shown = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == [
        "explain", "k3v9qd", "dry-run", "--what --why", "", "on off", "large", "k3v9qd",
    ]  # fmt: skip
