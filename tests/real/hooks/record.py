#!/usr/bin/env python3
"""What a recorded agent's hooks call: `record.py LOG EVENT` appends what came on stdin."""

import json
import os
import sys
import time

TELLING = ("AI_AGENT", "CLAUDE", "CODEX_", "GEMINI_", "OPENCODE", "PI_", "TMUX_PANE")


def main() -> None:
    log, event, *rest = sys.argv[1:]
    given = "" if rest else sys.stdin.read()
    telling = {key: value for key, value in sorted(os.environ.items()) if key.startswith(TELLING)}
    record = {
        "time": round(time.time(), 3),
        "event": event,
        "payload": json.loads(rest[-1] if rest else given or "null"),
        "parent": os.getppid(),
        "env": {key: value for key, value in telling.items() if "KEY" not in key},
    }
    with open(log, "a") as out:
        print(json.dumps(record), file=out)
    print("{}")


main()
