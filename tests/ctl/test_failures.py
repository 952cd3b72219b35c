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


@pytest.mark.parametrize(
    ("args", "bus", "hint"),
    [
        (["--user"], "the session bus",
         "Log in, or use 'dbus-run-session'; or look elsewhere: --system, --bus, MUSTERD_BUS."),
        (["--system"], "the system bus",
         "Start it with 'systemctl start dbus', or look elsewhere: --user, --bus, MUSTERD_BUS."),
        (["--bus", "unix:path=/nope"], "bus 'unix:path=/nope'",
         "Is a bus running there? Or look elsewhere: --system, --user, --bus, MUSTERD_BUS."),
    ],
)  # fmt: skip
def test_no_bus_is_3(args: list[str], bus: str, hint: str, tmp_path: Path) -> None:
    nowhere = {"XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    outcome = Installation(tmp_path, "").ctl(*args, **nowhere)
    assert (outcome.status, outcome.stdout) == (3, "")
    assert outcome.stderr.splitlines() == [
        f"musterctl: Cannot connect to {bus}: No such file or directory.",
        f"Hint: {hint}",
    ]


def test_how_to_start_it_is_told_of_the_bus_that_was_asked(deserted: Installation) -> None:
    own = {"DBUS_SESSION_BUS_ADDRESS": deserted.bus, "DBUS_SYSTEM_BUS_ADDRESS": deserted.bus}
    started = {
        "--user": "'musterd --user', or look elsewhere: --system, --bus, MUSTERD_BUS.",
        "--system": "'systemctl start musterd', or look elsewhere: --user, --bus, MUSTERD_BUS.",
        f"--bus={deserted.bus}": f"'musterd --user --bus {deserted.bus}', or look elsewhere: "
        "--system, --user, --bus, MUSTERD_BUS.",
    }
    for option, hint in started.items():
        said = deserted.ctl(option, **own)
        assert said.stderr.splitlines()[1] == f"Hint: Start it with {hint}"


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
    "args", [["list", "-q", "mine"], ["gate", "mode", "off", "mine"], ["list", "mine", "--all"]]
)
def test_an_argument_too_many_is_named_with_its_verb(deserted: Installation, args: list[str]) -> None:
    outcome = deserted.ctl(*args)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.splitlines() == [
        f"musterctl: '{args[0]}' takes no 'mine'.",
        f"Hint: 'musterctl {args[0]} --help' shows what it takes.",
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["help"], ["--help"]),
        (["help", "hold"], ["hold", "--help"]),
        (["--user", "help", "gate", "mode"], ["gate", "mode", "--help"]),
    ],
)
def test_help_may_be_asked_for_as_a_verb(deserted: Installation, typed: list[str], meant: list[str]) -> None:
    outcome = deserted.ctl(*typed)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout == deserted.ctl(*meant).stdout


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("explian", "Perhaps 'explain'? 'musterctl --help' shows all."),
        ("frobnicate", "'musterctl --help' shows all."),
    ],
)
def test_a_verb_that_there_is_not_is_called_so(deserted: Installation, word: str, hint: str) -> None:
    assert deserted.ctl(word).stderr == f"musterctl: There is no verb '{word}'.\nHint: {hint}\n"


@pytest.mark.parametrize(
    "args",
    [
        ["status", "nobody"],
        ["explain", "nobody"],
        ["release", "nobody"],
        ["events", "nobody"],
        ["events", "-f", "nobody"],
        ["events", "--json", "nobody"],
    ],
)
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
