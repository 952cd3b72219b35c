"""The picture in the README, line by line: what musterctl would print of these sessions and gates."""

import os
from pathlib import Path

import pytest

from musterd.ctl import explain, roll

README = (Path(__file__).parents[2] / "README.md").read_text()
NOW = 1_800_000_000_000_000  # realtime µs
SECOND, MIB = 1_000_000, 2**20
QUIET = "quiet for 4 min 2 s, 30 min are asked at normal"


def session(
    session_id: str, agent: str, state: str, since: int, memory: float, verdict: str, pane: str, cwd: str
) -> dict[str, object]:
    """`since` in seconds, `memory` in MiB; `verdict` may name its gate."""
    word, _, gate = verdict.partition(": ")
    return {
        "Id": session_id, "Agent": agent, "UID": os.getuid(), "State": state, "EndedUSec": 0,
        "IdleSinceUSec": 0, "LastActivityUSec": NOW - since * SECOND, "Memory": round(memory * MIB),
        "Verdict": word, "KeptBy": gate, "Protected": False, "Title": "",
        "Terminal": f"tmux:/tmp/tmux-1000/default:{pane}", "CWD": f"/home/alice/src/{cwd}",
    }  # fmt: skip


SESSIONS = [
    session("k3v9qd", "codex", "busy", 2, 612.4, "keep: turn", "%1", "app") | {"Title": "release notes"},
    session("p8xw2m", "pi", "idle", 47 * 60, 291.0, "eligible: tier", "%4", "lib"),
    session("f2ncz7", "gemini", "waiting", 192, 488.7, "keep: waiting", "%7", "site"),
    session("h6tr4b", "opencode", "idle", 242, 1126.4, "keep: quiet", "%9", "app"),
]
GATES = [
    ("protected", "pass", 0, "not protected"),
    ("inhibited", "pass", 0, "no block inhibitor"),
    ("unsupported", "pass", 0, "opencode 1.18.33 is one that can prove idleness"),
    ("turn", "pass", 242 * SECOND, "it said that its turn ended"),
    ("quiet", "keep", 242 * SECOND, QUIET),
]


@pytest.fixture(autouse=True)
def alices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("NO_COLOR", "1")


def test_the_roll_looks_like_that() -> None:
    table = roll.render(SESSIONS, now=NOW, legend=True, room=0)
    assert "\n".join(["$ musterctl", *table, "", roll.summary(SESSIONS), ""]) in README


def test_an_explanation_looks_like_that() -> None:
    head, *gates = explain._gates(GATES, legend=True)
    sentence = explain.sentence("h6tr4b", "keep", "quiet", GATES)
    left_out = gates.index(next(line for line in gates if "unsupported" in line))
    shown = ["$ musterctl explain h6", sentence, "", head, *gates[:left_out], "...", *gates[left_out + 1 :]]
    assert "\n".join([*shown, "...", "```"]) in README
