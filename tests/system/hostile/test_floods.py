"""Too much of anything: processes, calls, signals, bytes."""

import pytest

from helpers.attacker import (
    AGENT,
    ALICE,
    MORE_FDS,
    PATIENCE,
    PROGRAMS,
    SYSTEM_BUS,
    Daemon,
    Mallory,
    Victim,
    open_files,
    text,
)
from helpers.machine import NAME, ROOT
from helpers.programs import until


def test_crowd_of_agents_is_enrolled_up_to_the_limit_and_holds_up_nobody(
    mallory: Mallory, alice: Victim
) -> None:
    mallory.begins("crowd", AGENT, 300)  # each with 60 kB of words

    def enrolled() -> int:
        (rows,) = mallory.machine.call("ListSessions", user=mallory.name)
        alice.goes_on()
        return len(rows)

    until(lambda: enrolled() == 200, "as many as one user may have", PATIENCE)
    assert "LimitReached" in mallory.tries("RegisterSession", "a{sv}", 0) or enrolled() == 200


def test_who_has_as_many_processes_as_may_be_harms_only_oneself(mallory: Mallory, alice: Victim) -> None:
    mallory.begins("bomb", LimitNPROC="200")
    mallory.tries("RegisterSession", "a{sv}", 0)
    for _ in range(3):
        alice.goes_on()


def test_inhibitors_exhaust_neither_the_daemon_nor_others(
    mallory: Mallory, alice: Victim, daemon: Daemon
) -> None:
    greedy = f"PYTHONPATH=/usr/lib/musterd exec python3 {PROGRAMS}/greedy.py 400 >{mallory.home}/said"
    mallory.starts("sh", "-c", greedy, Environment=SYSTEM_BUS)
    said = f"{mallory.home}/said"
    until(lambda: "LimitReached" in text(mallory.machine, said), "a limit", PATIENCE)
    assert open_files(mallory.machine, daemon.pid) < daemon.fds + 300 + MORE_FDS
    alice.goes_on()
    mallory.machine.call("Inhibit", "sssss", "reap", "alice", "why not", "block", "", user=ALICE)


@pytest.mark.parametrize("attack", ["calls", "bodies"])
def test_flood_of_calls_leaves_room_for_others(mallory: Mallory, alice: Victim, attack: str) -> None:
    mallory.begins(attack, 8, 3)
    for _ in range(3):
        alice.goes_on()


def test_flood_of_imposters_does_not_keep_others_from_their_wardens(mallory: Mallory, alice: Victim) -> None:
    mallory.begins("calls", 8, 3, f"{NAME}.Wardens", "Attach")
    mallory.machine.run("systemctl", "stop", alice.warden)
    explain = ("call", NAME, ROOT, f"{NAME}.Reaper", "Explain", "s", alice.session)
    until(lambda: mallory.machine.busctl(*explain, user=ALICE).status == 0, "Alice's warden", PATIENCE)


def test_flood_of_match_rules_by_who_does_not_read_costs_nobody_anything(
    mallory: Mallory, alice: Victim
) -> None:
    mallory.begins("matches", 2)
    own = mallory.registers(mallory.starts("sleep", "4720"))
    for wish in ("true", "false") * 3:
        mallory.machine.call("SetProtected", "sb", own, wish, user=mallory.name)
    alice.goes_on()


def test_flood_of_activations_starts_nothing(mallory: Mallory) -> None:
    assert mallory.does("activations", 2000) == "ok:"


def test_huge_messages_are_refused_unread(mallory: Mallory, alice: Victim) -> None:
    said = mallory.does("huge")
    assert [answer for answer in said if "that is too much" not in answer] == []


def test_message_as_deep_as_the_bus_allows_is_refused(mallory: Mallory) -> None:
    said = mallory.does("deep")
    assert [answer for answer in said if answer.startswith("ok")] == []


def test_messages_that_no_library_would_send_are_refused_or_end_who_sent_them(mallory: Mallory) -> None:
    said = mallory.does("odd")
    assert said.pop("endless path") in ("ok:", "awa")
    assert [case for case, answer in said.items() if answer.startswith("ok")] == []
    assert [case for case, answer in said.items() if "Internal error" in answer] == []
