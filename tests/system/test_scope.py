"""Sessions in scopes of their own, made by the systemd of their user."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.machine import Machine
from helpers.programs import until

USER = "anna"

# A process below it, and one that has left its tree and its environment: only the scope tells whose that is.
AGENT = """#!/bin/sh
env -i setsid --fork sleep 1000
sleep 1001
"""


@pytest.fixture(scope="module")
def anna(installed: Machine) -> Iterator[Machine]:
    """A user with a systemd, a bus and a musterd of her own."""
    installed.add_user(USER)
    installed.write("/usr/local/bin/some-agent", AGENT)
    installed.run("chmod", "755", "/usr/local/bin/some-agent")
    installed.write(f"/home/{USER}/.config/musterd/musterd.toml", "[discovery]\nenabled = false\n")
    installed.run("chown", "--recursive", f"{USER}:", f"/home/{USER}")
    installed.run("systemctl", "--user", "start", "musterd.service", user=USER)
    yield installed
    installed.run("systemctl", "--user", "stop", "musterd.service", user=USER)


@pytest.fixture
def session(anna: Machine) -> Iterator[dict[str, Any]]:
    """One that `musterctl run` started, as it is on the roll."""
    terminal = ["systemd-run", "--user", "--quiet", "--collect", "--unit=terminal"]
    command = [*terminal, "--", "musterctl", "--user", "run", "--", "/usr/local/bin/some-agent"]
    anna.run(*command, user=USER)
    yield until(lambda: next(iter(sessions(anna)), None), "a session on the roll", 60.0)
    anna.run("systemctl", "--user", "stop", "musterd-*.scope", user=USER)
    until(lambda: not sessions(anna), "an empty roll", 60.0)


def sessions(machine: Machine) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(ctl(machine, "--json", "list"))
    return rows


def ctl(machine: Machine, *args: str) -> str:
    return machine.run("musterctl", "--user", *args, user=USER).stdout


def scopes(machine: Machine) -> list[str]:
    command = ["systemctl", "--user", "list-units", "--plain", "--no-legend", "musterd-*.scope"]
    return [line.split()[0] for line in machine.run(*command, user=USER).stdout.splitlines()]


def sleepers(machine: Machine) -> list[str]:
    """The `sleep`s of the agent that run, by their argument."""
    return sorted(machine.shell("ps --no-headers -C sleep -o args || true").split("\n")[:-1])


def test_run_starts_it_in_a_scope_of_its_own_and_an_end_takes_all_in_it(
    anna: Machine, session: dict[str, Any]
) -> None:
    assert [session["Scope"]] == scopes(anna)
    assert sleepers(anna) == ["sleep 1000", "sleep 1001"]
    ctl(anna, "terminate", session["Id"])
    assert (sleepers(anna), scopes(anna), sessions(anna)) == ([], [], [])
