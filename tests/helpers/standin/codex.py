"""A stand-in that leaves the traces Codex 0.169 leaves: its lock, its rollout, its screen, its tools.

Runs under an interpreter that is called `codex` (see `install_codex`). A line typed is a prompt, and a turn:

    think N      silent for N seconds, then an answer      tool N      a shell tool that takes N seconds
    ask          asks for a permission, until a line       background COMMAND...  left running by its turn
    fork N       a tool that leaves the process tree       helper      starts an MCP helper
    interrupt N  thinks, and is interrupted                vanish      a turn without a record of its end
    subagent N   a second thread works on after the turn   torn        half a line at the end of the record
    helper busy, helper quiet                              what the helper does from then on

Instead of a number of seconds, `@NAME` lasts until there is a file of that name in the agent's directory.

What is no turn:

    draft TEXT, undraft        text on the composer        status TEXT      another status line
    clock, spinner, still      a status line that moves    paint N          N lines of output
    compact N                  compacts for N seconds      mend             completes a torn record
    rotate, truncate           of the record               /quit, crash     ends, or breaks off

Environment: STANDIN_HOOK, the command that hooks run (none without it); STANDIN_LOST, words of hooks that
get lost; STANDIN_CHILD, a program started with the agent; STANDIN_THREAD, the conversation to go on with;
STANDIN_CLOCK, a file that moves its clock.
"""

import fcntl
import json
import os
import shlex
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

SCREEN = "\x1b[2J\x1b[H"
PLACEHOLDER = "\x1b[2mAsk Codex to do anything\x1b[0m"
DIALOG = (
    "\r\nWould you like to run the following command?\r\n\r\n  Press enter to confirm or esc to cancel\r\n"
)
HELPER = Path(__file__).with_name("mcp-server-demo")


class Rollout:
    """The record of one conversation, made with its first prompt, and locked while it is open."""

    def __init__(self, home: Path, thread: str = "") -> None:
        self.thread = thread or str(uuid.uuid4())
        now = datetime.now(UTC)
        day = home / "sessions" / f"{now:%Y/%m/%d}"
        day.mkdir(parents=True, exist_ok=True)
        known = list(home.glob(f"sessions/*/*/*/rollout-*-{self.thread}.jsonl"))
        self.path = known[0] if known else day / f"rollout-{now:%Y-%m-%dT%H-%M-%S}-{self.thread}.jsonl"
        self._file = self.path.open("a")
        locks = home / "thread-writer-locks"
        locks.mkdir(exist_ok=True)
        self._lock = (locks / f"{self.thread}.lock").open("w")
        with suppress(BlockingIOError):  # open in another agent: the record is shared all the same
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        meta = {
            "id": self.thread,
            "session_id": self.thread,
            "cwd": str(Path.cwd()),
            "cli_version": os.environ.get("STANDIN_VERSION", "0.169.0"),
        }
        self.write("session_meta", meta)

    def write(self, kind: str, payload: Mapping[str, object]) -> None:
        stamp = now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.write_text(json.dumps({"timestamp": stamp, "type": kind, "payload": payload}) + "\n")

    def write_text(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def rotate(self) -> None:
        """Another file under the same name, with the same text."""
        text = self.path.read_text()
        self.path.rename(self.path.with_suffix(".old"))
        self._file.close()
        self._file = self.path.open("a")
        self.write_text(text)

    def truncate(self) -> None:
        os.truncate(self.path, 0)

    def close(self) -> None:
        self._file.close()
        self._lock.close()


class Agent:
    def __init__(self, home: Path) -> None:
        self._home = home
        self._hook = shlex.split(os.environ.get("STANDIN_HOOK", ""))
        self._lost = os.environ.get("STANDIN_LOST", "").split()
        thread = os.environ.get("STANDIN_THREAD", "")
        self._rollout = Rollout(home, thread) if thread else None
        self._draft = self._status = ""
        self._output = "\r\n"
        self._turn = ""
        self._moving = ""
        self._helper: subprocess.Popen[str] | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def run(self) -> None:
        if child := os.environ.get("STANDIN_CHILD"):
            self._start(child)
        self._paint()
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            if word in ("quit", "/quit"):
                return
            if act := getattr(self, f"do_{word}", None):
                act(rest)
                self._paint()
            else:
                self._take_turn(word, rest)

    @property
    def rollout(self) -> Rollout:
        if self._rollout is None:
            self._rollout = Rollout(self._home)
            self._tell("SessionStart")
        return self._rollout

    # Turns

    def _take_turn(self, word: str, rest: str) -> None:
        rollout = self.rollout
        self._turn = str(uuid.uuid4())
        rollout.write("event_msg", {"type": "task_started", "turn_id": self._turn})
        self._tell("UserPromptSubmit")
        rollout.write("response_item", {"type": "message", "role": "user"})
        self._say(f"• Working on '{word} {rest}'")
        work: Callable[[str], None] = getattr(self, f"_turn_{word}", self._turn_think)
        work(rest)
        if word == "vanish":
            return
        end = "turn_aborted" if word == "interrupt" else "task_complete"
        if word == "torn":
            rollout.write("event_msg", {"type": end, "turn_id": self._turn})
            rollout.write_text('{"timestamp": "')
        else:
            rollout.write("event_msg", {"type": end, "turn_id": self._turn})
        self._tell("Interrupt" if word == "interrupt" else "Stop")
        self._say(f"• Done: {word} {rest}")
        self._paint()

    def _turn_think(self, rest: str) -> None:
        with suppress(ValueError):
            last(rest or "0.05")

    _turn_interrupt = _turn_think

    def _turn_tool(self, rest: str) -> None:
        self.rollout.write("response_item", {"type": "function_call", "name": "exec_command"})
        self._tell("PreToolUse")
        subprocess.run(["sleep", rest], env=self._environ, start_new_session=True, check=False)
        self._tell("PostToolUse")
        self.rollout.write("response_item", {"type": "function_call_output"})

    def _turn_ask(self, _rest: str) -> None:
        self._tell("PermissionRequest")
        show(DIALOG)
        sys.stdin.readline()

    def _turn_background(self, rest: str) -> None:
        self._start(rest)

    def _turn_fork(self, rest: str) -> None:
        """Its parent is gone at once, so that it becomes a child of init."""
        script = f"sleep {rest} & exit"
        subprocess.run(
            ["sh", "-c", script],
            env=self._environ,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )

    def _turn_helper(self, rest: str) -> None:
        if self._helper is None:
            self._helper = subprocess.Popen(
                ["python3", str(HELPER)], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
        if rest and self._helper.stdin:
            self._helper.stdin.write(rest + "\n")
            self._helper.stdin.flush()

    def _turn_subagent(self, rest: str) -> None:
        second = Rollout(self._home)
        self._tell("SubagentStart", agent_id=second.thread)
        second.write("event_msg", {"type": "task_started", "turn_id": "1"})
        threading.Thread(target=self._work_on, args=(second, rest), daemon=True).start()

    def _work_on(self, second: Rollout, duration: str) -> None:
        last(duration)
        second.write("event_msg", {"type": "task_complete", "turn_id": "1"})
        notice = {"type": "input_text", "text": f"<subagent_notification>\n{second.thread}"}
        self.rollout.write("response_item", {"type": "message", "role": "user", "content": [notice]})
        self._tell("SubagentStop", agent_id=second.thread)

    # What is no turn

    def do_draft(self, rest: str) -> None:
        self._draft = rest

    def do_undraft(self, _rest: str) -> None:
        self._draft = ""

    def do_status(self, rest: str) -> None:
        self._status = rest

    def do_paint(self, rest: str) -> None:
        for number in range(int(rest)):
            self._say(f"line {number}")

    def do_clock(self, rest: str) -> None:
        self._moving = rest or "clock"
        threading.Thread(target=self._move, daemon=True).start()

    do_spinner = do_clock

    def do_still(self, _rest: str) -> None:
        self._moving = ""

    def _move(self) -> None:
        for number in count():
            if not self._moving:
                break
            self._status = f"{self._moving} {number}"
            self._paint()
            time.sleep(0.1)

    def do_compact(self, rest: str) -> None:
        self._turn = str(uuid.uuid4())
        self._tell("PreCompact")
        last(rest)
        self._tell("PostCompact")

    def do_mend(self, _rest: str) -> None:
        self.rollout.write_text('2026-01-01T00:00:00.000Z"}\n')

    def do_rotate(self, _rest: str) -> None:
        self.rollout.rotate()

    def do_truncate(self, _rest: str) -> None:
        self.rollout.truncate()

    def do_crash(self, _rest: str) -> None:
        os._exit(1)

    # Means

    @property
    def _environ(self) -> Mapping[str, str]:
        thread = self._rollout.thread if self._rollout else ""
        return {**os.environ, "CODEX_THREAD_ID": thread, "CODEX_SESSION_ID": thread}

    def _start(self, command: str) -> None:
        child = subprocess.Popen(
            shlex.split(command), env=self._environ, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._children.append(child)

    def _tell(self, event: str, **more: str) -> None:
        if not self._hook or event in self._lost or self._rollout is None:
            return
        told = {
            "session_id": self._rollout.thread,
            "turn_id": self._turn,
            "transcript_path": str(self._rollout.path),
            "cwd": str(Path.cwd()),
            **more,
        }
        subprocess.run(
            [*self._hook, event],
            input=json.dumps(told).encode(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )

    def _say(self, text: str) -> None:
        self._output += text + "\r\n"
        show(self._output)

    def _paint(self) -> None:
        composer = f"\r\n\x1b[1m\u203a\x1b[0m {self._draft or PLACEHOLDER}\r\n"
        show(self._output + composer + (f"\r\n  {self._status}\r\n" if self._status else ""))


def last(duration: str) -> None:
    if not duration.startswith("@"):
        time.sleep(float(duration))
        return
    while not Path(duration[1:]).exists():
        time.sleep(0.02)


def now() -> datetime:
    """Moved as the last line of the file STANDIN_CLOCK says (see helpers/moved_clock.py)."""
    path = os.environ.get("STANDIN_CLOCK")
    lines = Path(path).read_text().splitlines() if path else []
    ahead = int(lines[-1].split()[1]) if lines else 0
    return datetime.now(UTC) + timedelta(microseconds=ahead // 1000)


def show(text: str) -> None:
    sys.stdout.write(SCREEN + text)
    sys.stdout.flush()


def main() -> None:
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    home.mkdir(exist_ok=True)
    (home / "config.toml").touch()
    (home / "config.toml").read_text()  # at each start, as the real one does
    Agent(home).run()


main()
