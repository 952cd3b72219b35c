"""The stop gate in the documented protocol of Claude Code: installed hooks, JSON in, JSON or nothing out."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.daemon import ALONE, Daemon
from helpers.hook import Hook, fake_daemon
from helpers.private_bus import DBusDaemon, PrivateBus
from helpers.standin import install_claude

# A busy machine is no reason to let go in a test, unless the test is about just that.
PATIENT = f'{ALONE}[stop-gate]\nhook-timeout = "60s"\ncheck-timeout = "50s"\n'
PATIENCE = {"MUSTERD_HOOK_TIMEOUT": "60", "STANDIN_PATIENCE": "20"}  # Claude Code waits 5 s for our hook

CAP = 8  # holds in a row; then Claude Code overrules its hooks

# What musterctl does where it is installed: it finds the hook beside itself.
INSTALL = "import sys; sys.argv[0] = {!r}; from musterd.ctl.main import main; sys.exit(main())"


class Claude:
    """One conversation. Every answer of a hook has to be one that the documentation knows."""

    def __init__(self, process: "subprocess.Popen[str]", project: Path) -> None:
        self.process = process
        self.conversation = str(uuid.uuid4())
        self.project = project
        self.environ: dict[str, str] = {}  # more, for hooks

    def _do(self, **told: object) -> list[dict[str, Any]]:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(told), file=self.process.stdin, flush=True)
        answers: list[dict[str, Any]] = json.loads(self.process.stdout.readline())
        return answers

    def say(self, event: str, **fields: object) -> str:
        """What the hook of that event prints."""
        common = {
            "session_id": self.conversation,
            "transcript_path": f"{self.project}/{self.conversation}.jsonl",
            "cwd": str(self.project),
            "permission_mode": "default",
            "hook_event_name": event,
            "prompt_id": "1",
        }
        return self.say_text(event, json.dumps({**common, **fields}))

    def say_text(self, event: str, text: str) -> str:
        (answer,) = self._do(event=event, input=text, environ=self.environ)
        assert (answer["status"], answer["stderr"]) == (0, "")
        return str(answer["stdout"])

    def begin(self, prompt: str = "tidy up") -> None:
        assert self.say("UserPromptSubmit", prompt=prompt) == ""

    def stop(self, **fields: object) -> str:
        """The reason of the hold, or "" if the turn may end."""
        known = {
            "stop_hook_active": False, "last_assistant_message": "Done.", "background_tasks": [],
            "session_crons": [],
        }  # fmt: skip
        return understood(self.say("Stop", **{**known, **fields}))

    def end_turn(self) -> int:
        """Goes on as often as it is told to -> how often that was."""
        for holds in range(CAP + 1):
            if not self.stop(stop_hook_active=holds > 0):
                return holds
        raise AssertionError("Claude Code overruled us")

    def tool(self, command: str) -> str:
        (answer,) = self._do(tool=command)
        assert answer["status"] == 0, answer
        return str(answer["stdout"]).strip()


def understood(output: str) -> str:
    if not output:
        return ""
    answer = json.loads(output)
    assert answer == {"decision": "block", "reason": answer["reason"]}
    assert answer["reason"]
    return str(answer["reason"])


class Stage:
    def __init__(self, daemon: Daemon, hook: Hook, command: list[str], stack: ExitStack) -> None:
        self.daemon, self.hook, self._command, self._stack = daemon, hook, command, stack
        self.project = daemon.home / "project"
        self.project.mkdir()

    def claude(self, **environ: str) -> Claude:
        """A new one, in the one project."""
        process = self._stack.enter_context(
            subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.project,
                env={**self.hook.environ, **PATIENCE, **environ},
            )
        )  # fmt: skip
        claude = Claude(process, self.project)
        assert claude.say("SessionStart", source="startup", model="a model") == ""
        claude.begin()
        return claude

    def claim(self, claude: Claude, *args: str) -> str:
        """As the agent itself does, in a shell tool."""
        claim = f"{self.hook.bin}/musterctl claim start --task 'tidy up' {' '.join(args)}"
        return claude.tool(claim)

    def holds(self) -> list[int]:
        """How often each claim held its owner."""
        (rows,) = self.daemon.call("StopGate.ListClaims")
        return [int(row[5]) for row in rows]

    def mode(self, mode: str) -> None:
        self.daemon.call("StopGate.SetMode", "ss", mode, "a test")


@pytest.fixture
def stage(tmp_path: Path, private_bus: PrivateBus) -> Iterator[Stage]:
    with Daemon(tmp_path, private_bus, PATIENT) as daemon, ExitStack() as stack:
        hook = Hook(daemon.home, private_bus.address)
        install = [sys.executable, "-c", INSTALL.format(f"{hook.bin}/musterctl"), "hooks", "install"]
        subprocess.run([*install, "claude-code"], env=hook.environ, check=True, capture_output=True)
        stage = Stage(daemon, hook, install_claude(tmp_path / "agent"), stack)
        stage.mode("enforce")
        yield stage


def test_what_is_installed_is_this_one_line(stage: Stage) -> None:
    hooks = json.loads((stage.daemon.home / ".claude" / "settings.json").read_text())["hooks"]
    command = {"type": "command", "command": f"{stage.hook.program} claude-code Stop", "timeout": 5}
    assert hooks["Stop"] == [{"hooks": [command]}]


def test_owner_is_held_and_goes_on_until_its_claim_is_done(stage: Stage) -> None:
    claude = stage.claude()
    claim = stage.claim(claude)
    reason = claude.stop()
    assert f"the task 'tidy up' (claim {claim}) is active, not done" in reason
    assert claude.say("PostToolUse", tool_name="Bash", tool_input={"command": "true"}) == ""
    claude.tool(f"{stage.hook.bin}/musterctl claim done")
    assert claude.stop(stop_hook_active=True) == ""
    assert stage.hook.logged == []


CASES: dict[str, dict[str, object]] = {
    "another session": {"session_id": "0199a213-81c0-7800-8aa1-bbab2a035a54"},
    "an empty id": {"session_id": ""},
    "an id that is none": {"session_id": 7},
    "a subagent": {"agent_id": "a1", "agent_type": "Explore"},
}


def test_whoever_is_not_proven_to_be_the_owner_may_stop(stage: Stage) -> None:
    claude = stage.claude()
    stage.claim(claude)
    assert {case: claude.stop(**fields) for case, fields in CASES.items()} == dict.fromkeys(CASES, "")
    assert stage.holds() == [0]


def test_two_in_one_directory_are_two(stage: Stage) -> None:
    owner, other = stage.claude(), stage.claude()
    stage.claim(owner)
    assert other.end_turn() == 0
    assert stage.holds() == [0]
    assert owner.stop()


def test_told_the_same_again_it_may_stop(stage: Stage) -> None:
    claude = stage.claude()
    stage.claim(claude, "--budget", "large")
    assert claude.end_turn() == 1


def test_a_ninth_hold_never_comes(stage: Stage) -> None:
    """Each time there is another reason: it stops for good before Claude Code would overrule us."""
    claude = stage.claude()
    claim = stage.claim(claude, "--budget", "large")

    def turn() -> int:
        for holds in range(CAP + 1):
            changes = [1, "checklist", "as", 1, f"step {holds}"]
            stage.daemon.call("StopGate.UpdateClaim", "sa{sv}", claim, *changes)
            if not claude.stop(stop_hook_active=holds > 0):
                return holds
        raise AssertionError("Claude Code overruled us")

    assert turn() == 5
    claude.begin("go on")
    assert turn() == 5
    claude.begin("go on")
    assert turn() == 0
    assert stage.holds() == [10]
    ((newest,),) = stage.daemon.call("StopGate.History", "u", 1)
    assert newest["Kind"]["data"] == "let-go"


def test_switched_off_in_mid_turn_it_holds_no_more(stage: Stage) -> None:
    claude = stage.claude()
    stage.claim(claude)
    assert claude.stop()
    stage.mode("off")
    assert claude.stop(stop_hook_active=True) == ""
    claude.begin("go on")
    assert claude.stop() == ""


@contextmanager
def stopped(stage: Stage) -> Iterator[None]:
    assert stage.daemon.process
    stage.daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stage.daemon.process.send_signal(signal.SIGCONT)


def test_without_a_daemon_it_may_stop(stage: Stage) -> None:
    claude = stage.claude()
    stage.claim(claude)
    stage.daemon.stop()
    assert claude.stop() == ""
    assert len(stage.hook.logged) == 1


def test_with_a_daemon_that_stands_still_it_may_stop(stage: Stage) -> None:
    claude = stage.claude()
    stage.claim(claude)
    claude.environ["MUSTERD_HOOK_TIMEOUT"] = ""  # as shipped
    with stopped(stage):
        assert claude.stop() == ""
    assert "no answer within 1.5 s" in stage.hook.logged[0]


def test_of_what_is_no_question_nothing_is_said(stage: Stage) -> None:
    claude = stage.claude()
    stage.claim(claude)
    for text in ("", "{", f'{{"session_id": "{claude.conversation}', "null", "[]", "\n"):
        assert claude.say_text("Stop", text) == ""
    assert stage.holds() == [0]
    assert claude.stop()


def test_with_a_daemon_that_is_slow_or_silent_it_may_stop(tmp_path: Path, stage: Stage) -> None:
    with DBusDaemon(tmp_path / "another") as bus, fake_daemon(bus.address) as fake:
        claude = stage.claude(MUSTERD_BUS=bus.address, MUSTERD_HOOK_TIMEOUT="")
        fake.says('{"decision": "block", "reason": "too late"}', block=True)
        fake.delay = 60  # for whoever waits longer than it should
        assert claude.stop() == ""
        fake.is_silent = True
        assert claude.stop() == ""
    assert claude.stop() == ""  # and where there is no bus
