"""`terminate` and `resume`: a session's end and return, in real panes, through the real daemon."""

import asyncio
import os
import shlex
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from helpers.installation import Installation
from helpers.programs import until
from helpers.standin import install_codex
from helpers.tmux import TmuxServer
from musterd.ctl import resume
from musterd.ctl.client import Client, Properties
from musterd.ctl.failure import CtlError
from musterd.host.process import read_facts
from musterd.host.table import Table

from .conftest import Enrol


@dataclass
class Stage:
    """Stand-ins of Codex that are started as `codex`, in panes of a server of their own."""

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
        until(lambda: text in self.screen(pane), f"'{text}' is shown", 30)

    def screen(self, pane: str) -> str:
        return self.server.run("capture-pane", "-p", "-t", pane)

    def session(self, pane: str) -> str:
        """The id of the session whose codex is in that pane, with one turn behind it."""
        self.shown(pane, "Ask Codex")
        self.type_in(pane, "think 0")
        self.shown(pane, "Done: think 0")
        top = int(self.server.about(pane, "pane_pid"))
        outcome = self.musterd.ctl("register", "--agent", "codex", "--pid", str(_codex_at(top)))
        assert outcome.status == 0, outcome
        return outcome.stdout.strip()

    def about(self, session_id: str) -> Any:
        return self.musterd.json("status", session_id)


def _codex_at(top: int) -> int:
    rows = [top, *(row.pid for row in Table.read().descendants(top))]
    return next(pid for pid in rows if read_facts(pid).executable.endswith("/codex"))


@pytest.fixture
def stage(musterd: Installation, tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "codex"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(install_codex(tmp_path))} "$@"\n')
    program.chmod(0o755)
    with TmuxServer(tmp_path) as server:
        yield Stage(musterd, server, tmp_path)


def test_an_ended_session_comes_back_in_its_pane(stage: Stage) -> None:
    pane = stage.pane("codex", "--sandbox", "read-only")
    session_id = stage.session(pane)
    before = stage.about(session_id)
    outcome = stage.musterd.ctl("terminate", session_id, "--why", "a test")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", "")
    ended = stage.about(session_id)
    assert (ended["State"], ended["EndedReason"]) == ("ended", "terminated")
    assert ended["ResumeCommand"][-2:] == ["--sandbox", "read-only"]
    (resumable,) = stage.musterd.json("resume")
    assert resumable["Id"] == session_id

    outcome = stage.musterd.ctl("resume", session_id)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout == f"{session_id} is back in tmux tmux {pane}.\n"
    after = stage.about(session_id)
    assert (after["Terminal"], after["CWD"]) == (before["Terminal"], before["CWD"])
    assert after["AgentSessionId"] == before["AgentSessionId"]
    assert after["Leader"] != before["Leader"]
    assert after["Leader"] == _codex_at(int(stage.server.about(pane, "pane_pid")))
    stage.musterd.ctl("release", session_id)


def test_the_order_typed_in_its_own_shell_brings_it_back_there(stage: Stage) -> None:
    pane = stage.shell()
    stage.type_in(pane, "codex --model gpt-9")
    session_id = stage.session(pane)
    assert stage.musterd.ctl("terminate", session_id).status == 0
    stage.type_in(pane, "")
    stage.shown(pane, "here$")
    stage.server.run("send-keys", "-t", pane, "C-u")
    stage.type_in(pane, f"clear; {shlex.join(stage.musterd.ctl_command('resume', session_id))}")
    until(lambda: stage.about(session_id)["State"] != "ended", "it is back", 30)
    assert stage.about(session_id)["Terminal"] == f"tmux:{stage.server.socket}:{pane}"
    stage.musterd.ctl("release", session_id)


def test_all_that_were_reaped_come_back_one_after_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Terminated ones are not among them; those that fail are named."""
    orders: list[str] = []

    class Daemon:
        """Answers for one with ended sessions of several reasons."""

        async def manager(
            self, member: str, _signature: str, *args: object, **_: object
        ) -> tuple[object, ...]:
            if member == "ResumeSession":
                orders.append(str(args[0]))
                if args[0] == "b":
                    raise CtlError("Its directory '/gone' is gone.", name="NotResumable")
                return (args[0],)
            if member == "ListEndedSessions":
                rows = [(name, "codex", 0, "ended", "/", name) for name in "abcde"]
                return (rows if args[0] == 0 else [], len(rows))
            return (str(args[0]),)

        async def call(self, *_: object, **__: object) -> tuple[object, ...]:
            return ({},)

        async def properties(self, _interface: str, path: str) -> Properties:
            reason = "terminated" if path == "c" else "reaped"
            known = {"Id": path, "State": "ended", "EndedReason": reason, "CreatedUSec": 0}
            return {**known, "Resumable": path != "d", "Terminal": ""}

    args = Namespace(ids=[], all=True)
    assert asyncio.run(resume.run(cast("Client", Daemon()), args)) == 1
    assert orders == ["a", "b", "e"]
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["a is back.", "e is back."]
    assert shown.err == "musterctl: b: Its directory '/gone' is gone.\n"


def test_what_has_not_ended_is_not_resumed(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    outcome = musterd.ctl("resume", session_id)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr.splitlines()[0] == f"musterctl: Session '{session_id}' has not ended."


def test_terminating_is_kept_in_the_history_with_its_reason(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol()
    assert musterd.ctl("terminate", session_id, "--why", "no use any more").status == 0
    assert "no use any more" in musterd.ctl("events", session_id).stdout
    outcome = musterd.ctl("terminate", session_id)
    assert (outcome.status, outcome.stdout) == (1, "")


def test_without_a_name_it_shows_what_can_be_resumed(musterd: Installation) -> None:
    assert musterd.ctl("resume").stdout == "No session can be resumed.\n"
    assert musterd.json("resume") == []
    assert musterd.ctl("resume", "--all").stdout == ""


@pytest.mark.parametrize("args", [["terminate"], ["resume", "x", "--all"]])
def test_misuse(musterd: Installation, args: list[str]) -> None:
    assert musterd.ctl(*args).status == 2
