"""`musterctl -H HOST`: over ssh, whose place a small program takes that runs the far end here."""

from pathlib import Path

import pytest

from helpers.installation import Installation
from musterd.ctl.client import Where
from musterd.ctl.failure import Misused
from musterd.ctl.remote import bridge_command

from .conftest import Enrol

SSH = """#!/bin/sh
echo "$@" > "$HOME/ssh.log"
while [ "$1" != -- ]; do shift; done
shift 2
exec "$@"
"""


@pytest.fixture
def fake_ssh(musterd: Installation, tmp_path: Path) -> str:
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o755)
    return f"{tmp_path}:{musterd.environ['PATH']}"


def test_the_roll_of_another_host(musterd: Installation, enrol: Enrol, fake_ssh: str) -> None:
    session_id = enrol()
    outcome = musterd.ctl("-H", "ann@box:2222", "--bus", musterd.bus, "list", "-q", PATH=fake_ssh)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, f"{session_id}\n", "")
    called = (musterd.home / "ssh.log").read_text()
    assert called == f"-xT -p 2222 -- ann@box systemd-stdio-bridge -p {musterd.bus}\n"


def test_a_host_that_does_not_answer_is_3(musterd: Installation, tmp_path: Path) -> None:
    outcome = musterd.ctl("-H", "box", PATH=dead_ssh(musterd, tmp_path))
    assert (outcome.status, outcome.stdout) == (3, "")
    assert outcome.stderr.splitlines()[-2:] == [
        "musterctl: Cannot connect to the system bus of 'box'.",
        "Hint: It takes ssh(1), and over there a bus and systemd-stdio-bridge.",
    ]


def test_where_the_bus_is_here_says_nothing_of_another_host(musterd: Installation, tmp_path: Path) -> None:
    assert musterd.environ["MUSTERD_BUS"] == musterd.bus
    musterd.ctl("-H", "box", PATH=dead_ssh(musterd, tmp_path))
    assert (musterd.home / "ssh.log").read_text() == "-xT -- box systemd-stdio-bridge\n"


def dead_ssh(musterd: Installation, directory: Path) -> str:
    program = directory / "ssh"
    program.write_text('#!/bin/sh\necho "$@" >"$HOME/ssh.log"\nexit 255\n')
    program.chmod(0o755)
    return f"{directory}:{musterd.environ['PATH']}"


def test_without_ssh_it_says_so(musterd: Installation, tmp_path: Path) -> None:
    outcome = musterd.ctl("-H", "box", PATH=str(tmp_path))
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr == "musterctl: Cannot run ssh: No such file or directory.\n"


@pytest.mark.parametrize(
    ("where", "far"),
    [
        (Where("system", "box"), ["--", "box", "systemd-stdio-bridge"]),
        (Where("session", "box"), ["--", "box", "systemd-stdio-bridge", "--user"]),
        (Where("system", "ann@box:22"), ["-p", "22", "--", "ann@box", "systemd-stdio-bridge"]),
    ],
)
def test_the_command(where: Where, far: list[str]) -> None:
    assert bridge_command(where) == ["ssh", "-xT", *far]


@pytest.mark.parametrize("host", ["", "-oProxyCommand=evil", "box evil", "box:port", "box\nevil"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(Misused):
        bridge_command(Where("system", host))
