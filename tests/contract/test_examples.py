"""The worked examples in dbus/README.md, typed one by one."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from helpers.installation import Installation, some_process
from musterd.bus.contract import Contract

README = Path(__file__).parents[2] / "dbus" / "README.md"
ID = "k3v9qd"  # the id in the examples
PID = "4711"
CLAIM = "c5d0c1f2e"


def examples() -> Iterator[tuple[str, str]]:
    """Commands, and what is shown as their answers."""
    for block in re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL):
        for example in block.removeprefix("$ ").split("\n$ "):
            command, _, shown = example.rstrip("\n").partition("\n")
            yield command, shown


def pattern(shown: str) -> str:
    """Texts and numbers may differ, the shape may not; `...` stands for anything."""
    parts = re.split(r'(\.\.\.|"[^"]*"|\b\d+\b)', shown)
    return "".join(_fits(part) if number % 2 else re.escape(part) for number, part in enumerate(parts))


def _fits(part: str) -> str:
    if part == "...":
        return ".*"
    return r'"[^"]*"' if part.startswith('"') else r"\d+"


def test_there_is_an_example_of_each_method() -> None:
    """But for the one that is between the daemon and its own wardens."""
    typed = "\n".join(command for command, _ in examples())
    names = [name for name in Contract.load().interfaces if name.startswith("org.musterd.")]
    methods = [f"{name} {method}" for name in names for method in Contract.load().interfaces[name].methods]
    assert [method for method in methods if method not in typed] == ["org.musterd.Muster1.Wardens Attach"]


def test_each_example_answers_as_shown(musterd: Installation) -> None:
    commands = list(examples())
    assert len(commands) > 20
    with some_process() as process:
        session_id, claim_id = musterd.register(process), CLAIM
        for command, shown in commands:
            typed = command.replace(ID, session_id).replace(PID, str(process.pid)).replace(CLAIM, claim_id)
            busctl, *rest = shlex.split(typed)
            done = subprocess.run(
                [busctl, f"--address={musterd.bus}", *rest], capture_output=True, text=True, check=False
            )
            if "StopGate Claim" in typed:
                claim_id = done.stdout.split('"')[1]
            assert re.fullmatch(
                pattern(shown.replace(ID, session_id)), (done.stdout + done.stderr).rstrip("\n")
            ), (typed, done)
