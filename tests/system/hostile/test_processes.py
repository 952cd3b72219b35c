"""Sessions, processes and claims of others."""

import json

from helpers.attacker import ALICE, THREAD, Daemon, Mallory, Victim


def strangers(alice: Victim, daemon: Daemon) -> dict[str, tuple[str, int]]:
    return {
        "the first process": ("u", 1),
        "Alice's agent": ("u", alice.leader),
        "the daemon": ("u", daemon.pid),
        "Alice's warden": ("u", alice.warden_pid()),
        "a process that is not there": ("u", 4_194_000),
        "a number that no process has": ("u", 2**32 - 1),
        "a negative number": ("i", -1),
        "a long number": ("t", 2**63),
        "a text": ("s", 1),
        "yes": ("b", 1),
    }


def test_process_of_somebody_else_or_of_nobody_is_not_registered(
    mallory: Mallory, alice: Victim, daemon: Daemon
) -> None:
    for case, (kind, pid) in strangers(alice, daemon).items():
        assert mallory.tries("RegisterSession", "a{sv}", 1, "pid", kind, pid), case
    for spec in (("agent-session-id", "s", THREAD), ("host", "s", "far")):  # of others, and of other hosts
        alone = ("RegisterSession", "a{sv}", 2, "pid", "u", alice.leader, *spec)
        if "host" not in spec:
            assert mallory.tries(*alone)
    assert mallory.machine.call("ListSessions", user=mallory.name) == [[]]


def test_hook_that_speaks_of_a_session_of_another_user_is_heard_about_none(
    mallory: Mallory, alice: Victim
) -> None:
    payload = json.dumps({"session_id": THREAD, "id": THREAD, "thread_id": THREAD, "cwd": f"/home/{ALICE}"})
    for agent in ("codex", "claude-code", "pi", "gemini", "opencode"):
        for event in ("stop", "Stop", "turn-start", "SessionStart", "SessionEnd", "turn_end"):
            assert mallory.tries("ReportEvent", "sss", agent, event, payload), (agent, event)
    assert "NoSuchSession" not in mallory.tries("GetSession", "s", alice.session)
    for member in (
        ("GetSessionByAgentSession", "ss", "codex", THREAD),
        ("GetSessionByPID", "u", alice.leader),
        ("Inhibit", "sssss", "reap:stop", "mallory", "mine", "block", alice.session),
        ("StopGate.Claim", "a{sv}", 2, "session", "s", alice.session, "task", "s", "mine"),
        ("Heartbeat", "s", alice.session),
        ("ResumeSession", "s", alice.session),
    ):
        assert mallory.tries(*member), member


def test_claim_of_another_user_is_nobody_elses(mallory: Mallory, alice: Victim) -> None:
    ((claim, *_),) = mallory.machine.call("StopGate.ListClaims", user=ALICE)[0]
    assert mallory.tries("StopGate.UpdateClaim", "sa{sv}", claim, 1, "done", "b", "true")
    assert mallory.tries("StopGate.ReleaseClaim", "s", claim)
    assert mallory.machine.call("StopGate.ListClaims", user=mallory.name) == [[]]


def test_mark_of_another_user_s_session_makes_a_session_of_one_s_own(
    mallory: Mallory, alice: Victim
) -> None:
    pid = mallory.starts("env", f"MUSTERD_SESSION={alice.session}", "sleep", "4715")
    assert mallory.registers(pid) != alice.session
