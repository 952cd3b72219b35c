"""Agents that need no Node and no model: what musterd reads of them is what the captures show.

For the demonstration, and for stories that would take too long with real agents. What the real ones do is
tested with the real ones.
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def install_codex(directory: Path, version: str = "0.169.0") -> list[str]:
    """A Python interpreter called `codex`, in a package such as npm installs -> the command that runs it."""
    package = directory / "node_modules" / "@openai" / "codex"
    program = package / "vendor" / "x86_64-unknown-linux-musl" / "bin" / "codex"
    program.parent.mkdir(parents=True)
    description = {"name": "@openai/codex", "version": f"{version}-linux-x64"}
    (package / "package.json").write_text(json.dumps(description))
    return _command(program, "codex.py")


def install_claude(directory: Path) -> list[str]:
    """A Python interpreter called `claude` -> the command that runs it. It only runs hooks."""
    program = directory / "claude"
    program.parent.mkdir(parents=True)
    return _command(program, "claude.py")


def _command(program: Path, script: str) -> list[str]:
    shutil.copy(os.path.realpath(sys.executable), program)
    return ["env", f"PYTHONHOME={sys.base_prefix}", str(program), str(HERE / script)]


def install_command(directory: Path, command: Sequence[str]) -> Path:
    """`codex`, and `codex resume ID`, as a user types it -> the directory for PATH."""
    (folder := directory / "bin").mkdir()
    program = folder / "codex"
    thread = '[ "$1" != resume ] || export STANDIN_THREAD="$2"'
    program.write_text(f'#!/bin/sh\n{thread}\nexec {shlex.join(command)} "$@"\n')
    program.chmod(0o755)
    return folder
