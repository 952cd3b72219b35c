"""Words of others, where root and the log read them."""

import json

from helpers.attacker import AGENT, Mallory, Victim
from helpers.machine import UNIT

# Becomes a program with a megabyte of words.
WORDY = "import os, sys; os.execv(sys.argv[1], [sys.argv[2] + 'codex', '4719', *['0' * 99999] * 9])"

CLEAR = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2028"
FORGED = f"\r\n{'x' * 6}  codex  root  busy\nmusterd: session 'abcdef' ended: reaped"


def test_what_a_user_writes_reaches_no_terminal_of_root_and_no_line_of_the_log(
    mallory: Mallory, alice: Victim
) -> None:
    title = CLEAR + FORGED
    program = f"{mallory.home}/codex{CLEAR}"
    mallory.machine.run("cp", AGENT, program, user=mallory.name)
    pid = mallory.starts("python3", "-c", WORDY, program, CLEAR)
    session = mallory.registers(pid, agent="codex", title=title, **{"agent-session-id": title})
    claim = ("a{sv}", 2, "session", "s", session, "task", "s", title)
    mallory.machine.call("StopGate.Claim", *claim, user=mallory.name)
    mallory.machine.call("Inhibit", "sssss", "reap", title, title, "block", session, user=mallory.name)
    for verb in (("list",), ("status", session), ("explain", session), ("claim", "list"), ("events",)):
        shown = mallory.machine.run("musterctl", "--no-pager", *verb).stdout
        assert {char for char in shown if not char.isprintable()} <= {"\n"}, verb
        assert not [line for line in shown.splitlines() if line.startswith(("musterd:", "xxxxxx"))], verb
    listed = json.loads(mallory.machine.run("musterctl", "--json", "list").stdout)
    assert sorted(row["Id"] for row in listed if row["UID"] == mallory.uid) == [session]
    log = mallory.machine.journal(UNIT)
    assert "\x1b" not in log
    assert not [line for line in log.splitlines() if line.startswith(("musterd:", "xxxxxx"))]
    assert "owned" not in mallory.machine.unit(UNIT, "StatusText")["StatusText"]
