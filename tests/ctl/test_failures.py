"""How musterctl fails: an exit status, one sentence, and nothing on standard output."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.daemon import DAEMON
from helpers.installation import Installation
from helpers.private_bus import PrivateBus

QUIET = """
import sys
from musterd.ctl.main import main
try:
    main({args})
finally:
    print([name for name in sys.modules if name.startswith(("dbus_fast", "asyncio"))], file=sys.stderr)
"""


@pytest.fixture
def deserted(private_bus: PrivateBus, tmp_path: Path) -> Installation:
    """A bus without a daemon."""
    return Installation(tmp_path, private_bus.address)


READERS = (
    ["list"],
    ["list", "-q"],
    ["status"],
    ["explain", "x"],
    ["pressure"],
    ["events"],
    ["top"],
    ["reaper"],
    ["gate"],
    ["gate", "history"],
    ["claim"],
)


@pytest.mark.parametrize(
    "args", [*READERS, ["events", "-f"], ["register"], ["hold", "x"], ["protect", "x"], ["claim", "done"]]
)
def test_no_daemon_is_3(deserted: Installation, args: list[str]) -> None:
    outcome = deserted.ctl(*args)
    assert (outcome.status, outcome.stdout) == (3, "")
    assert outcome.stderr.splitlines()[0] == "musterctl: musterd is not running there."
    assert outcome.stderr.splitlines()[1].startswith("Hint: ")


def test_no_bus_is_3(tmp_path: Path) -> None:
    outcome = Installation(tmp_path, f"unix:path={tmp_path}/none").ctl()
    assert (outcome.status, outcome.stdout) == (3, "")
    assert "Cannot connect" in outcome.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["list", "--nonsense"],
        ["list", "--", "make"],
        ["hold", "--all", "--"],
        ["register", "--"],
        ["--bus", "garbage"],
        ["--user", "--system"],
        ["reaper", "mode", "sometimes"],
        ["register", "--agent", "hal"],
        ["register", "--pid", "me"],
        ["top", "--interval", "0"],
        ["-H", "a b"],
        ["-H", "there", "hold", "x"],
    ],
)
def test_misuse_is_2(deserted: Installation, args: list[str]) -> None:
    outcome = deserted.ctl(*args)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("musterctl")
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("explian", "Perhaps 'explain'? 'musterctl --help' shows all."),
        ("frobnicate", "'musterctl --help' shows all."),
    ],
)
def test_a_verb_that_there_is_not_is_called_so(deserted: Installation, word: str, hint: str) -> None:
    assert deserted.ctl(word).stderr == f"musterctl: There is no verb '{word}'.\nHint: {hint}\n"


@pytest.mark.parametrize("args", [["status", "nobody"], ["explain", "nobody"], ["release", "nobody"]])
def test_no_such_session_is_1(musterd: Installation, args: list[str]) -> None:
    outcome = musterd.ctl(*args)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr.splitlines() == [
        "musterctl: No session 'nobody' is on the roll.",
        "Hint: 'musterctl list --all' shows the sessions there are.",
    ]


def test_a_command_line_wins_over_the_environment(musterd: Installation, private_bus: PrivateBus) -> None:
    assert musterd.ctl("--bus", private_bus.address).status == 3
    assert musterd.ctl("list", "--bus", musterd.bus, MUSTERD_BUS=private_bus.address).status == 0


def test_whoever_stops_reading_is_no_failure(musterd: Installation) -> None:
    command = [*musterd.ctl_command("list")]
    with subprocess.Popen(
        command, env=musterd.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["hold", "--help"], ["nonsense"]])
def test_help_does_not_load_the_bus_library(args: list[str]) -> None:
    environ = {"PYTHONPATH": str(DAEMON)}
    command = [sys.executable, "-c", QUIET.format(args=args)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"
