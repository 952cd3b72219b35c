"""The agent that the daemon was started by is never ended, however much memory is wanted."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.daemon import CallFailed, Daemon
from helpers.private_bus import PrivateBus
from helpers.programs import Programs, until
from helpers.standin import install_codex
from helpers.tmux import TmuxServer

PATIENCE = 60.0


@pytest.mark.parametrize(
    "way", [["exec"], ["setsid", "-f"]], ids=["as its child", "and it left the process tree"]
)
def test_the_agent_that_started_the_daemon_is_kept_and_others_are_reaped(
    tmp_path: Path, private_bus: PrivateBus, way: list[str]
) -> None:
    daemon = Daemon.eager(tmp_path, private_bus)
    with agents(tmp_path, daemon) as (tmux, panes), Programs() as programs:
        script = daemon.home / "around" / "start"
        script.write_text(shlex.join([*way, *_command(daemon)]) + f" 2> {tmp_path / 'log'}\n")
        _say(tmux, panes["around"], "think 0.1")
        _say(tmux, panes["around"], "background sh start")
        until(lambda: _sessions(daemon).keys() == panes.keys(), "both are on the roll", PATIENCE)
        programs.adopt(_pid_of(daemon))
        _say(tmux, panes["other"], "think 0.1")
        around, other = (_sessions(daemon)[name] for name in ("around", "other"))
        until(lambda: daemon.session(around)["State"] == "idle", "it is idle")

        daemon.release_others()
        daemon.call("Reaper.SetMode", "ss", "on", "a test")
        daemon.press()
        until(lambda: daemon.session(other)["EndedReason"] == "reaped", "the other is reaped", PATIENCE)
        verdict, kept_by, gates = daemon.explain(around)
        assert (verdict, kept_by) == ("keep", "protected")
        assert gates["protected"] == ("keep", "the daemon itself runs in it")
        assert "Done: background" in tmux.run("capture-pane", "-p", "-t", panes["around"])


@contextmanager
def agents(work: Path, daemon: Daemon) -> Iterator[tuple[TmuxServer, dict[str, str]]]:
    """Stand-ins in panes: directory below the home -> pane."""
    command = shlex.join(["env", f"HOME={daemon.home}", *install_codex(work / "agent")])
    with TmuxServer(work) as tmux:
        panes = {}
        for name in ("around", "other"):
            (daemon.home / name).mkdir()
            panes[name] = tmux.pane("sh", "-c", f"cd {daemon.home / name} && exec {command}")
        for pane in panes.values():
            until(lambda: "Ask Codex" in tmux.run("capture-pane", "-p", "-t", pane), "it is there", PATIENCE)  # noqa: B023 - at once
        yield tmux, panes


def _say(tmux: TmuxServer, pane: str, line: str) -> None:
    tmux.run("send-keys", "-t", pane, "-l", line)
    tmux.run("send-keys", "-t", pane, "Enter")
    until(lambda: f"Done: {line}" in tmux.run("capture-pane", "-p", "-t", pane), f"'{line}' is done")


def _command(daemon: Daemon) -> list[str]:
    environ = [f"{name}={value}" for name, value in daemon.env().items()]
    return ["env", "-u", "PYTHONHOME", *environ, *daemon.command]


def _sessions(daemon: Daemon) -> dict[str, str]:
    """Name of the directory -> id; none while the daemon is not there yet."""
    try:
        return {
            Path(s["CWD"]).name: s["Id"] for s in daemon.sessions() if s["CWD"].startswith(str(daemon.home))
        }
    except CallFailed:
        return {}


def _pid_of(daemon: Daemon) -> int:
    bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    pid = json.loads(daemon.busctl("call", *bus, "GetConnectionUnixProcessID", "s", "org.musterd.Muster1"))
    return int(pid["data"][0])
