"""The order to resume is as short as it can be where it is typed, and complete."""

import os
import shlex
from pathlib import Path

import pytest

from helpers.programs import Programs, until
from musterd.core.session import SessionId
from musterd.host.process import read_facts
from musterd.warden.wayback import WayBack


@pytest.mark.parametrize(
    ("bus", "there", "where"),
    [
        ("system", "", []),
        ("system", "session", ["--system"]),
        ("session", "", ["--user"]),
        ("session", "user", []),
        ("unix:path=/run/a bus", "", ["--bus", "unix:path=/run/a bus"]),
        ("unix:path=/run/a bus", "unix:path=/run/a bus", []),
    ],
)
def test_an_offer(tmp_path: Path, bus: str, there: str, where: list[str]) -> None:
    (tmp_path / "musterctl").touch(mode=0o755)
    with Programs() as programs:
        shell = programs.start("/bin/sh", environ={"PATH": str(tmp_path), "MUSTERD_BUS": there})
        until(lambda: read_facts(shell).argv, "it runs")
        offer = WayBack(bus).offer(SessionId("k3v9qd"), read_facts(shell))
        assert shlex.split(offer) == ["musterctl", *where, "resume", "k3v9qd"]


def test_where_no_musterctl_is_found_ours_is_named(tmp_path: Path) -> None:
    with Programs() as programs:
        shell = programs.start("/bin/sh", environ={"PATH": str(tmp_path)})
        until(lambda: read_facts(shell).argv, "it runs")
        program = shlex.split(WayBack().offer(SessionId("k3v9qd"), read_facts(shell)))[0]
    assert os.path.isabs(program)
    assert os.access(program, os.X_OK)


def test_an_order_says_which_bus_it_is() -> None:
    assert WayBack("session").order(SessionId("k3v9qd"))[1:] == ("--user", "resume", "k3v9qd")
