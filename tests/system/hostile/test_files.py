"""Files and sockets that are not what they seem to be."""

from collections.abc import Callable

import pytest

from helpers.attacker import ALICE, PATIENCE, PROGRAMS, Daemon, Mallory, Victim
from helpers.programs import until


def link_to_secrets(mallory: Mallory, file: str) -> None:
    mallory.machine.run("ln", "-s", "/etc/shadow", file, user=mallory.name)


def huge_and_hollow(mallory: Mallory, file: str) -> None:
    mallory.machine.run("truncate", "--size=10G", file, user=mallory.name)


def pipe(mallory: Mallory, file: str) -> None:
    mallory.machine.run("mkfifo", file, user=mallory.name)


def directory(mallory: Mallory, file: str) -> None:
    mallory.machine.run("mkdir", file, user=mallory.name)


def endless_device(mallory: Mallory, file: str) -> None:
    mallory.machine.run("ln", "-s", "/dev/zero", file, user=mallory.name)


def file_of_alice(mallory: Mallory, file: str) -> None:
    mallory.machine.shell(f"echo '{{}}' >{file} && chown {ALICE} {file}")


def file_that_hangs(mallory: Mallory, file: str) -> None:
    mallory.begins("lease", file)


def link_every_other_moment(mallory: Mallory, file: str) -> None:
    mallory.begins("swap", file, "/etc/shadow")


@pytest.mark.parametrize(
    "make",
    [
        link_to_secrets,
        huge_and_hollow,
        pipe,
        directory,
        endless_device,
        file_of_alice,
        file_that_hangs,
        link_every_other_moment,
    ],
    ids=lambda make: make.__name__,
)
def test_transcript_that_is_hostile_says_nothing_and_is_opened_by_nobody_else(
    mallory: Mallory, alice: Victim, daemon: Daemon, make: Callable[[Mallory, str], None]
) -> None:
    file = f"{mallory.home}/transcript.jsonl"
    make(mallory, file)
    session = mallory.registers(mallory.starts("sleep", "4716"), agent="codex", transcript=file)
    for _ in range(3 if make is link_every_other_moment else 1):
        outcome, text = mallory.gates(session)["transcript"]
        assert outcome != "pass"
        assert "root:" not in text
        alice.goes_on()
    names = mallory.machine.shell(f"readlink /proc/{daemon.pid}/fd/* || true").splitlines()
    assert [name for name in names if "/home/" in name or "shadow" in name or "zero" in name] == []


@pytest.mark.parametrize("way", ["hang", "flood", "garbage"])
def test_tmux_server_that_misbehaves_costs_its_user_a_veto_and_nobody_anything(
    mallory: Mallory, alice: Victim, way: str
) -> None:
    socket = f"{mallory.home}/tmux"
    mallory.starts("python3", f"{PROGRAMS}/bad_tmux.py", socket, way)
    until(lambda: (mallory.machine.root / socket[1:]).exists(), "a socket", PATIENCE)
    pid = mallory.starts("sleep", "4717")
    session = mallory.registers(pid, agent="codex", terminal=f"tmux:{socket}:%1")
    assert mallory.gates(session)["present"][0] != "pass"
    alice.goes_on()


def test_tmux_socket_of_another_user_is_not_talked_to(mallory: Mallory) -> None:
    mallory.machine.run("mkdir", "--parents", "/run/alice")
    socket = "/run/alice/tmux"
    mallory.machine.shell(
        f"python3 {PROGRAMS}/bad_tmux.py {socket} hang </dev/null >/dev/null 2>&1 & echo $! >/run/alice/pid"
    )
    until(lambda: (mallory.machine.root / socket[1:]).exists(), "a socket", PATIENCE)
    try:
        mallory.machine.run("chmod", "777", socket)
        pid = mallory.starts("sleep", "4718")
        session = mallory.registers(pid, agent="codex", terminal=f"tmux:{socket}:%1")
        assert f"is not a socket of user {mallory.uid}" in str(mallory.gates(session))
    finally:
        mallory.machine.shell("kill $(cat /run/alice/pid); rm -r /run/alice")
