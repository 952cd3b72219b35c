"""`terminate` and `resume`: a session's end and return, in real panes, through the real daemon."""

import asyncio
import io
import os
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from helpers.installation import Installation, running_musterd
from helpers.programs import until
from musterd.bus.names import SESSION
from musterd.ctl import resume
from musterd.ctl.client import Client, Properties
from musterd.ctl.failure import CtlError

from .conftest import Enrol
from .stage import Stage, codex_at, codex_stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """With a roll of its own: what a test leaves there can be resumed, by its user only."""
    with running_musterd(tmp_path) as musterd, codex_stage(musterd, tmp_path) as stage:
        yield stage


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
    assert after["Leader"] == codex_at(int(stage.server.about(pane, "pane_pid")))


def test_the_order_typed_in_its_own_shell_brings_it_back_there(stage: Stage) -> None:
    pane = stage.shell()
    stage.type_in(pane, "codex --model gpt-9")
    session_id = stage.session(pane)
    assert stage.musterd.ctl("terminate", session_id).status == 0
    stage.server.run("send-keys", "-t", pane, "C-u")  # what is offered there is not what is tested here
    stage.type_in(pane, shlex.join(stage.musterd.ctl_command("resume", session_id)))
    until(lambda: stage.about(session_id)["State"] != "ended", "it is back")
    assert stage.about(session_id)["Terminal"] == f"tmux:{stage.server.socket}:{pane}"


WAS = ("reaped", "old-chat", 10)
OFTEN = "o"


@pytest.mark.parametrize(
    ("case", "ended", "orders"),
    [
        ("by the reaper", {"a": WAS}, ["a"]),
        ("by a reboot", {"a": ("reboot", "", 10)}, ["a"]),
        ("while the daemon was away", {"a": ("gone-while-away", "", 10)}, ["a"]),
        ("left by its user", {"a": ("exited", "", 10)}, []),
        ("ended by its user", {"a": ("terminated", "", 10)}, []),
        ("taken off the roll", {"a": ("released", "", 10)}, []),
        ("twice the same conversation", {"a": WAS, "b": ("reboot", "old-chat", 20)}, ["b"]),
        ("left by its user later", {"a": WAS, "b": ("exited", "old-chat", 20)}, []),
        ("left by its user before", {"a": WAS, "b": ("exited", "old-chat", 5)}, ["a"]),
        ("open again", {"a": WAS, "b": ("", "old-chat", 0)}, []),
        ("another is open", {"a": WAS, "b": ("", "chat", 0)}, ["a"]),
        ("it is not known how", {"d": WAS}, []),
    ],
)
def test_who_comes_back(case: str, ended: dict[str, tuple[str, str, int]], orders: list[str]) -> None:
    daemon = Answers(ended)
    assert asyncio.run(resume.run(cast("Client", daemon), Namespace(ids=[], all=True, yes=False))) == 0
    assert daemon.orders == orders


def test_all_come_back_one_after_another_and_those_that_fail_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    daemon = Answers({name: ("reaped", name, 50 - number) for number, name in enumerate("abe")})
    assert asyncio.run(resume.run(cast("Client", daemon), Namespace(ids=[], all=True, yes=False))) == 1
    assert daemon.orders == ["e", "b", "a"]
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["e is back.", "a is back."]
    assert shown.err == "musterctl: b: Its directory '/gone' is gone.\n"


class Answers:
    """Of a daemon with these sessions: id -> reason, conversation and time of the end. `d` has no recipe."""

    def __init__(self, sessions: dict[str, tuple[str, str, int]]) -> None:
        self.sessions = sessions
        self.orders: list[str] = []

    async def manager(self, member: str, _signature: str, *args: object, **_: object) -> tuple[object, ...]:
        if member == "ResumeSessionAnyway":
            self.orders.append(f"{args[0]} anyway")
            return (args[0],)
        if member == "ResumeSession":
            self.orders.append(str(args[0]))
            if args[0] == OFTEN:
                raise CtlError("It was resumed 3 times in a day.", name="LimitReached")
            if args[0] == "b" and len(self.sessions) > 2:
                raise CtlError("Its directory '/gone' is gone.", name="NotResumable")
            return (args[0],)
        if member == "ListEndedSessions":
            ended = [name for name, (reason, *_) in self.sessions.items() if reason]
            rows = [(name, "codex", 0, "ended", "/", name) for name in ended]
            return (rows if args[0] == 0 else [], len(rows))
        return (str(args[0]),)

    async def call(self, *_: object, **__: object) -> tuple[object, ...]:
        current = [name for name, (reason, *_) in self.sessions.items() if not reason]
        return ({name: {SESSION: await self.properties("", name)} for name in current},)

    async def properties(self, _interface: str, path: str) -> Properties:
        reason, conversation, at = self.sessions[path]
        known = {"Id": path, "State": "ended" if reason else "idle", "EndedReason": reason}
        named = {"UID": 1000, "Agent": "codex", "AgentSessionId": conversation}
        return {
            **known,
            **named,
            "EndedUSec": at,
            "CreatedUSec": 0,
            "Resumable": path != "d",
            "Terminal": "",
        }


def back_again(*, yes: bool = False) -> list[str]:
    """What is ordered of the daemon to bring back one that came back often."""
    daemon = Answers({OFTEN: WAS})
    asyncio.run(resume.run(cast("Client", daemon), Namespace(ids=[OFTEN], all=False, yes=yes)))
    return daemon.orders


@pytest.mark.parametrize("typed", ["y", "YES"])
def test_one_that_came_back_often_is_asked_about(
    typed: str, answers: Callable[[str], object], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(f"{typed}\n")
    assert back_again() == [OFTEN, f"{OFTEN} anyway"]
    asked = "It was resumed 3 times in a day.\nBring it back all the same? [y/N] "
    assert capsys.readouterr() == (f"{OFTEN} is back.\n", asked)


@pytest.mark.parametrize("typed", ["n\n", "\n", "yesterday\n", "\x04"])
def test_without_a_yes_it_stays_ended(typed: str, answers: Callable[[str], object]) -> None:
    answers(typed)
    with pytest.raises(CtlError, match=f"Session '{OFTEN}' stays ended."):
        back_again()


def test_where_nobody_can_be_asked_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(CtlError, match="3 times in a day") as refusal:
        back_again()
    assert refusal.value.hint == "With --yes it comes back all the same."
    assert back_again(yes=True) == [f"{OFTEN} anyway"]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], object]]:
    """Standard input is a terminal, at which somebody types that."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        yield lambda typed: os.write(ours, typed.encode())
    os.close(ours)


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
