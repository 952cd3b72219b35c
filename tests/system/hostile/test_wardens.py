"""Wardens that are none, that are killed or stopped, and one that its user has taken over."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from helpers.attacker import ALICE, PATIENCE, PROGRAMS, SYSTEM_BUS, Mallory, Victim, text
from helpers.machine import NAME, ROOT, UNIT, Machine
from helpers.programs import until


def test_process_that_systemd_did_not_start_as_a_warden_is_none(mallory: Mallory, alice: Victim) -> None:
    attach = ("busctl", "call", NAME, ROOT, f"{NAME}.Wardens", "Attach")
    for user in (mallory.name, ALICE, ""):
        assert "is not the warden of user" in mallory.machine.run(*attach, user=user, check=False).stderr
    alice.goes_on()


# Ends that process of the unit again and again, and counts.
KILLER = """
for n in $(seq 100000); do
    pid=$(systemctl show --property=MainPID --value {unit})
    [ "$pid" = 0 ] || {{ kill -KILL "$pid" && echo >>{count}; }}
done
"""


def test_who_kills_their_own_warden_again_and_again_harms_nobody_else(
    mallory: Mallory, alice: Victim
) -> None:
    session = mallory.registers(mallory.starts("sleep", "4721"))
    before = alice.warden_pid()
    killed = f"{mallory.home}/killed"
    mallory.starts("sh", "-c", KILLER.format(unit=mallory.warden, count=killed))

    def is_enough() -> bool:
        alice.goes_on()
        result = mallory.machine.unit(mallory.warden, "Result")["Result"]
        return result == "start-limit-hit" or len(text(mallory.machine, killed)) >= 5

    until(is_enough, "its end, several times", PATIENCE)
    assert [row[0] for row in mallory.machine.call("ListSessions", user=mallory.name)[0]] == [session]
    assert alice.warden_pid() == before


def test_warden_that_is_killed_in_the_middle_of_an_end_leaves_the_session_in_peace(
    mallory: Mallory, alice: Victim
) -> None:
    pid = mallory.begins("stubborn")
    session = mallory.registers(pid)
    call = ("call", NAME, ROOT, f"{NAME}.Manager", "TerminateSession", "ss", session, "enough")
    mallory.starts("busctl", *call)
    path = f"{ROOT}/session/{session}"
    until(lambda: mallory.machine.get("Session.State", path=path) == "stopping", "its end", PATIENCE)
    mallory.machine.run("kill", "-KILL", str(mallory.warden_pid()), user=mallory.name)
    until(lambda: mallory.machine.get("Session.State", path=path) != "stopping", "a way out", PATIENCE)
    alice.goes_on()


def test_stopped_warden_degrades_its_own_user_and_nobody_else(mallory: Mallory, alice: Victim) -> None:
    session = mallory.registers(mallory.starts("sleep", "4722"))
    mallory.machine.run("kill", "-STOP", str(mallory.warden_pid()), user=mallory.name)
    try:
        mallory.starts("busctl", "call", NAME, ROOT, f"{NAME}.Reaper", "ListVerdicts")
        for _ in range(3):
            alice.goes_on()
        assert mallory.tries("Reaper.Explain", "s", session)
    finally:
        mallory.machine.run("kill", "-CONT", str(mallory.warden_pid()), user=mallory.name)


def test_who_takes_over_their_own_warden_is_believed_about_themselves_alone(
    mallory: Mallory, alice: Victim
) -> None:
    """As with ptrace(2): what was theirs before stays all that is theirs."""
    own = mallory.registers(mallory.starts("sleep", "4723"))
    with taken_over(mallory) as says:
        says({"hello": mallory.machine.get("Version")})
        until(lambda: "welcome" in says.heard(), "a welcome", PATIENCE)
        says({"event": {"@": "Gone", "session": alice.session}})
        until(lambda: "is none of its user's" in mallory.machine.journal(UNIT), "disbelief", PATIENCE)
    assert [row[0] for row in mallory.machine.call("ListSessions", user=mallory.name)[0]] == [own]


GROUPS = "/sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd"  # where they may be mounted


class Says:
    def __init__(self, machine: Machine, folder: str) -> None:
        self._machine, self._folder = machine, folder
        self._pipe = (machine.root / folder[1:] / "in").open("w")

    def __call__(self, message: object) -> None:
        self._pipe.write(json.dumps(message) + "\n")
        self._pipe.flush()

    def begin(self) -> None:
        self._pipe.write("!")
        self._pipe.flush()

    def heard(self) -> str:
        return text(self._machine, f"{self._folder}/out")

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._pipe.close()


@contextmanager
def taken_over(mallory: Mallory) -> Iterator[Says]:
    """A program of theirs within the unit of their warden, which has let go of the line."""
    folder = f"{mallory.home}/line"
    mallory.machine.shell(f"mkdir {folder} && mkfifo {folder}/in", user=mallory.name)
    by_hand = f"PYTHONPATH=/usr/lib/musterd python3 {PROGRAMS}/warden_by_hand.py"
    shell = mallory.starts(
        "sh", "-c", f"{by_hand} <>{folder}/in >{folder}/out & wait", Environment=SYSTEM_BUS
    )
    children = mallory.machine.root / f"proc/{shell}/task/{shell}/children"
    pid = until(
        lambda: children.read_text().strip(), "a program", PATIENCE
    )  # systemd knows the shell by its pid
    group = mallory.machine.unit(mallory.warden, "ControlGroup")["ControlGroup"]
    move = f"""[ ! -d $at'{group}' ] || echo {pid} >$at'{group}/cgroup.procs'"""
    mallory.machine.shell(f"for at in {GROUPS}; do {move}; done")
    says = Says(mallory.machine, folder)
    try:
        says.begin()
        until(says.heard, "a line, or none", PATIENCE)
        assert says.heard() == "attached\n"
        yield says
    finally:
        says.close()
