"""What comes back after a reboot, or after the daemon was away, and with which environment."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.daemon import Daemon
from helpers.installation import Installation
from helpers.private_bus import PrivateBus
from helpers.programs import until
from musterd.host.process import read_environ

from .stage import Stage, codex_at, codex_stage


@pytest.fixture
def daemon(tmp_path: Path, private_bus: PrivateBus) -> Iterator[Daemon]:
    with Daemon(tmp_path, private_bus) as daemon:
        yield daemon


@pytest.fixture
def stage(daemon: Daemon, tmp_path: Path) -> Iterator[Stage]:
    with codex_stage(Installation(daemon.home, daemon.bus.address), tmp_path) as stage:
        yield stage


def _rewrite(daemon: Daemon, pattern: str, replacement: str) -> None:
    """In the state files, while the daemon is dead."""
    for file in (daemon.state / "sessions").glob("*.toml"):
        text, found = re.subn(pattern, replacement, file.read_text())
        assert found == 1, file.read_text()
        file.write_text(text)


def _reboot(daemon: Daemon, stage: Stage, panes: list[str]) -> None:
    """The daemon is killed, the agents end, and the files are of another boot."""
    daemon.stop(signal.SIGKILL)
    for pane in panes:
        stage.server.run("kill-pane", "-t", pane)
    _rewrite(daemon, 'boot_id = ".*"', 'boot_id = "00000000-0000-4000-8000-000000000000"')
    daemon.start()


def test_what_a_reboot_ended_comes_back_and_what_its_user_ended_does_not(
    daemon: Daemon, stage: Stage
) -> None:
    panes = [stage.pane("codex") for _ in range(3)]
    interrupted, left, terminated = (stage.session(pane) for pane in panes)
    conversation = stage.about(interrupted)["AgentSessionId"]
    stage.type_in(panes[1], "quit")
    assert stage.musterd.ctl("terminate", terminated).status == 0
    until(lambda: stage.about(left)["State"] == "ended", "it has left")
    _reboot(daemon, stage, [panes[0], panes[2]])

    reasons = [stage.about(one)["EndedReason"] for one in (interrupted, left, terminated)]
    assert reasons == ["reboot", "exited", "terminated"]
    outcome = stage.musterd.ctl("resume", "--all")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert re.fullmatch(rf"{interrupted} is back in tmux tmux %\d+\.\n", outcome.stdout)
    after = stage.about(interrupted)
    assert (after["State"] != "ended", after["AgentSessionId"]) == (True, conversation)
    pane = after["Terminal"].rpartition(":")[2]
    assert after["Leader"] == codex_at(int(stage.server.about(pane, "pane_pid")))
    assert [stage.about(one)["State"] for one in (left, terminated)] == ["ended", "ended"]
    assert stage.musterd.ctl("resume", "--all").stdout == ""


@pytest.mark.parametrize("is_older", [False, True], ids=["as it is", "with a file of an older version"])
def test_it_comes_back_with_its_environment_after_the_daemon_was_killed(
    daemon: Daemon, stage: Stage, is_older: bool
) -> None:
    """Its PATH and where its state is are its own; the tmux server knows neither."""
    pane = stage.pane("env", "CODEX_API_KEY=secret", "codex")
    session_id = stage.session(pane)
    wanted = ("PATH", "CODEX_HOME", "CODEX_API_KEY")
    before = read_environ(stage.about(session_id)["Leader"], wanted)
    assert before.keys() == set(wanted)
    if is_older:
        daemon.stop(signal.SIGKILL)
        _rewrite(daemon, r"(?s)environ = \[.*?\]\n", "")
        daemon.start()
    assert stage.musterd.ctl("terminate", session_id).status == 0
    daemon.restart(signal.SIGKILL)
    assert all("secret" not in file.read_text() for file in (daemon.state / "sessions").glob("*.toml"))
    outcome = stage.musterd.ctl("resume", session_id)
    assert (outcome.status, outcome.stderr) == (0, "")
    after = stage.about(session_id)
    assert after["Terminal"] == f"tmux:{stage.server.socket}:{pane}"
    assert read_environ(after["Leader"], wanted) == {n: v for n, v in before.items() if n != "CODEX_API_KEY"}


# What an end leaves in the pane


BARE = ("env", "-u", "MUSTERD_BUS", "-u", "PYTHONPATH")


def test_the_key_that_the_notice_names_brings_it_back(stage: Stage) -> None:
    """Nothing in the pane says on which bus the daemon is."""
    pane = stage.pane(*BARE, "codex")
    session_id = stage.session(pane)
    assert stage.musterd.ctl("terminate", session_id).status == 0
    stage.shown(pane, "Press r to resume it")
    stage.server.run("send-keys", "-t", pane, "r")
    until(lambda: stage.about(session_id)["State"] != "ended", "it is back")
    assert stage.about(session_id)["Terminal"] == f"tmux:{stage.server.socket}:{pane}"


def test_the_order_that_stands_at_the_prompt_brings_it_back(stage: Stage) -> None:
    pane = stage.pane(*BARE, "bash", "--norc", "--noprofile")
    stage.shown(pane, "here$")
    stage.type_in(pane, "codex")
    session_id = stage.session(pane)
    assert stage.musterd.ctl("terminate", session_id).status == 0
    until(lambda: f"resume {session_id}" in stage.screen(pane).rpartition("\n")[2], "the order is there")
    stage.server.run("send-keys", "-t", pane, "Enter")
    until(lambda: stage.about(session_id)["State"] != "ended", "it is back")
    assert stage.about(session_id)["Terminal"] == f"tmux:{stage.server.socket}:{pane}"
