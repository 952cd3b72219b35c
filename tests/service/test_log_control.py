"""What is logged is changed while the daemon runs."""

import subprocess

import pytest

from helpers.daemon import NAME, Daemon

PATH = "/org/freedesktop/LogControl1"
INTERFACE = "org.freedesktop.LogControl1"


def busctl(daemon: Daemon, verb: str, *args: str) -> str:
    options = [f"--address={daemon.bus.address}", "--timeout=60"]
    command = ["busctl", *options, verb, NAME, PATH, INTERFACE, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def test_level_and_target_are_shown_and_set(daemon: Daemon) -> None:
    assert busctl(daemon, "get-property", "LogLevel") == 's "debug"'
    assert busctl(daemon, "get-property", "LogTarget") == 's "console"'
    assert busctl(daemon, "get-property", "SyslogIdentifier") == 's "musterd"'
    for level in ("crit", "err", "warning", "notice", "info", "debug"):
        assert busctl(daemon, "set-property", "LogLevel", "s", level) == ""
        assert busctl(daemon, "get-property", "LogLevel") == f's "{level}"'
    for target, shown in (("null", "null"), ("journal", "journal"), ("auto", "console")):
        assert busctl(daemon, "set-property", "LogTarget", "s", target) == ""
        assert busctl(daemon, "get-property", "LogTarget") == f's "{shown}"'


def test_nothing_is_logged_above_the_level_that_was_set(daemon: Daemon) -> None:
    busctl(daemon, "set-property", "LogLevel", "s", "err")
    before = daemon.log
    daemon.call("Reaper.SetMode", "ss", "off", "quiet")
    assert daemon.log == before
    busctl(daemon, "set-property", "LogLevel", "s", "info")
    daemon.call("Reaper.SetMode", "ss", "dry-run", "loud")
    assert "loud" in daemon.log.removeprefix(before)


@pytest.mark.parametrize(
    ("prop", "value", "answer"),
    [
        ("LogLevel", "loud", "log level 'loud' is none of"),
        ("LogTarget", "moon", "log target 'moon' is none of"),
        ("SyslogIdentifier", "sshd", "cannot be set"),
    ],
)
def test_what_makes_no_sense_is_refused(daemon: Daemon, prop: str, value: str, answer: str) -> None:
    assert answer in busctl(daemon, "set-property", prop, "s", value)
