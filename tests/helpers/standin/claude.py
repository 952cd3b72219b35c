"""A stand-in that runs hooks as the documentation of Claude Code says, under an interpreter called `claude`.

Each line of its input is {"event": NAME, "input": TEXT, "environ": MORE}. It runs what its settings have for
that event, with the text on standard input, and answers with a line: [{"status": N, "stdout": TEXT,
"stderr": TEXT}, ...]; a hook that took longer than its settings allow has the status null. {"tool": COMMAND}
runs a shell tool.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

ENVIRON = {
    **os.environ, "CLAUDECODE": "1", "CLAUDE_PID": str(os.getpid()), "CLAUDE_PROJECT_DIR": str(Path.cwd()),
}  # fmt: skip

# How much longer than its settings say it waits: as if the machine were that much faster.
PATIENCE = float(os.environ.get("STANDIN_PATIENCE", "1"))

Answer = Mapping[str, object]


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(answers(**json.loads(line))), flush=True)


def answers(
    event: str = "",
    input: str = "",  # noqa: A002 (on the line)
    environ: Mapping[str, str] = MappingProxyType({}),
    tool: str = "",
) -> list[Answer]:
    if tool:
        return [run(tool, "", None, environ)]
    return [run(str(hook["command"]), input, float(str(hook["timeout"])), environ) for hook in hooks(event)]


def hooks(event: str) -> list[Mapping[str, object]]:
    """Edits of the settings are picked up while it runs."""
    settings = json.loads((Path.home() / ".claude" / "settings.json").read_text())
    return [hook for group in settings["hooks"].get(event, []) for hook in group["hooks"]]


def run(command: str, text: str, seconds: float | None, environ: Mapping[str, str]) -> Answer:
    """In a session of its own, without a terminal."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command], input=text, capture_output=True, text=True, check=False,
            timeout=seconds and seconds * PATIENCE, start_new_session=True, env={**ENVIRON, **environ},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"status": None, "stdout": "", "stderr": ""}
    return {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


main()
