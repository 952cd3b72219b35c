"""Stand-ins of Codex in panes of a server of the test's own, on the roll of a real daemon."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.installation import Installation
from helpers.programs import until
from helpers.standin import install_codex, install_command
from helpers.tmux import TmuxServer
from musterd.host.process import read_facts
from musterd.host.table import Table


@dataclass
class Stage:
    """They are started as `codex`."""

    musterd: Installation
    server: TmuxServer
    home: Path

    def pane(self, *command: str) -> str:
        environ = {
            **self.musterd.environ,
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            "CODEX_HOME": str(self.home / "codex"),
            "PS1": "here$ ",
        }
        return self.server.pane("env", *(f"{name}={value}" for name, value in environ.items()), *command)

    def shell(self) -> str:
        pane = self.pane("bash", "--norc", "--noprofile")
        self.shown(pane, "here$")
        return pane

    def type_in(self, pane: str, line: str) -> None:
        self.server.run("send-keys", "-t", pane, "-l", "--", line)
        self.server.run("send-keys", "-t", pane, "Enter")

    def shown(self, pane: str, text: str) -> None:
        until(lambda: text in self.screen(pane), f"'{text}' is shown")

    def screen(self, pane: str) -> str:
        return self.server.run("capture-pane", "-p", "-t", pane)

    def session(self, pane: str) -> str:
        """The id of the session whose codex is in that pane, with one turn behind it."""
        self.shown(pane, "Ask Codex")
        self.type_in(pane, "think 0")
        self.shown(pane, "Done: think 0")
        top = int(self.server.about(pane, "pane_pid"))
        outcome = self.musterd.ctl("register", "--agent", "codex", "--pid", str(codex_at(top)))
        assert outcome.status == 0, outcome
        return outcome.stdout.strip()

    def about(self, session_id: str) -> Any:
        return self.musterd.json("status", session_id)


def codex_at(top: int) -> int:
    rows = [top, *(row.pid for row in Table.read().descendants(top))]
    return next(pid for pid in rows if _is_codex(pid))


def _is_codex(pid: int) -> bool:
    try:
        return read_facts(pid).executable.endswith("/codex")
    except OSError:  # it has ended, or becomes another program
        return False


@contextmanager
def codex_stage(musterd: Installation, home: Path) -> Iterator[Stage]:
    install_command(home, install_codex(home))
    with TmuxServer(home) as server:
        yield Stage(musterd, server, home)
