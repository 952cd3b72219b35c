"""Our extensions for pi and opencode, in a real node: what they tell, and what they make of an answer."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from musterd.agents.catalog import ADAPTERS
from musterd.agents.hooks import Extension
from musterd.core.event import EventKind
from musterd.core.session import Agent

STAND = Path(__file__).with_name("extension.mjs")

# Appends what it is told to a file, and answers what another says; not while there is a third.
HOOK = """#!/bin/sh
payload=$(cat)
printf '%s\\t%s\\n' "$2" "$payload" >>"$0.log"
while [ -e "$0.wait" ]; do sleep 0.01; done
[ ! -e "$0.answer" ] || cat "$0.answer"
"""

PATIENCE = 60  # seconds, on a busy machine


class Stand:
    """The extension of an agent, installed with a hook that writes down what it is told."""

    def __init__(self, directory: Path, agent: Agent) -> None:
        self.agent, self.hook = agent, directory / "musterd-hook"
        self.hook.write_text(HOOK)
        self.hook.chmod(0o755)
        extension = ADAPTERS[agent].hooks
        assert isinstance(extension, Extension)
        source = (files("musterd.agents") / "extensions" / extension.source).read_text()
        source, count = re.subn(r"(?m)^(const COMMAND = )\[.*?\]", rf'\1["{self.hook}"]', source)
        assert count == 1
        source, count = re.subn(r"(?m)^(const ANSWER_WITHIN = )\d+", rf"\g<1>{PATIENCE}000", source)
        assert count == 1
        self._file = directory / f"extension{'.mjs' if agent is Agent.OPENCODE else '.mts'}"
        self._file.write_text(source if agent is Agent.OPENCODE else _without_types(source))
        if agent is Agent.PI:
            self._file = self._file.rename(self._file.with_suffix(".mjs"))

    def __enter__(self) -> "Stand":
        node = shutil.which("node")
        assert node, "node is not installed: apt install nodejs"
        self._node = subprocess.Popen(
            [node, str(STAND), str(self._file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *raised: object) -> None:
        self._node.kill()  # of a hook that is not there, it would wait as long as for one that says nothing
        self._node.communicate()

    def do(self, *step: object) -> Any:
        assert self._node.stdin
        assert self._node.stdout
        print(json.dumps(step), file=self._node.stdin, flush=True)
        return json.loads(self._node.stdout.readline())

    def event(self, name: str, **event: object) -> Any:
        return self.do("event", name, event)

    def answers(self, reason: str) -> None:
        """From now on a turn is held, in the words of the adapter."""
        self.hook.with_name("musterd-hook.answer").write_text(ADAPTERS[self.agent].block("", reason))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it, no hook answers."""
        wait = self.hook.with_name("musterd-hook.wait")
        wait.touch()
        yield
        wait.unlink()

    def told(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The first so many reports: they are made beside."""
        log = self.hook.with_name("musterd-hook.log")
        lines = until(lambda: found if len(found := _lines(log)) >= count else None)
        return [(name, json.loads(text)) for name, _, text in (line.partition("\t") for line in lines)]

    def kinds(self, count: int) -> list[EventKind]:
        adapter = ADAPTERS[self.agent]
        return [adapter.hook_event(name, payload, 1).kind for name, payload in self.told(count)]


def _without_types(source: str) -> str:
    """Older nodes read no TypeScript: there is not much of it."""
    types = r"any|string|Promise<\w+>|\([^=]*?\) => Promise<any>"
    return re.sub(rf"(?<=[\w)]): (?:{types})(?=[,;) {{=])", "", source)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Stand]:
    with Stand(tmp_path, Agent.PI) as stand:
        yield stand


@pytest.fixture
def opencode(tmp_path: Path) -> Iterator[Stand]:
    with Stand(tmp_path, Agent.OPENCODE) as stand:
        yield stand


def test_pi_may_settle_where_nothing_is_said(pi: Stand) -> None:
    assert pi.event("agent_before_settle", outcome="completed", entries=[]) is None
    ((name, payload),) = pi.told(1)
    assert name == "agent_before_settle"
    assert (payload["session_id"], payload["session_file"], payload["cwd"]) == (
        "one",
        "/srv/one.jsonl",
        "/srv",
    )
    assert pi.kinds(1) == [EventKind.STOP]


def test_pi_goes_on_with_the_reason_behind_what_others_said(pi: Stand) -> None:
    pi.answers('the claim is "open"\nnothing is committed')
    held = pi.event(
        "agent_before_settle", outcome="completed", entries=[{"type": "custom", "from": "another"}]
    )
    assert held == {
        "entries": [
            {"type": "custom", "from": "another"},
            {"type": "custom_message", "customType": "musterd", "display": True,
             "content": 'the claim is "open"\nnothing is committed'},
        ],
        "continue": True,
    }  # fmt: skip


def test_pi_puts_an_answer_together_that_comes_in_pieces(pi: Stand) -> None:
    pi.hook.write_text(r"""#!/bin/sh
printf '{"decision": "block", "reason": "\303'
sleep 0.3
printf '\274"}'
""")
    held = pi.event("agent_before_settle", outcome="completed", entries=[])
    assert held["entries"][0]["content"] == "ü"


@pytest.mark.parametrize("answer", ["", "{}", "nonsense", '{"decision": "allow", "reason": "x"}', "null"])
def test_pi_settles_whatever_else_is_answered(pi: Stand, answer: str) -> None:
    pi.hook.with_name("musterd-hook.answer").write_text(answer)
    assert pi.event("agent_before_settle", outcome="completed", entries=[]) is None


def test_pi_settles_where_the_hook_is_gone(pi: Stand) -> None:
    pi.hook.unlink()
    assert pi.event("agent_before_settle", outcome="completed", entries=[]) is None
    assert pi.event("agent_start") is None
    assert pi.event("session_shutdown", reason="quit") is None


@pytest.mark.parametrize(("outcome", "is_cut"), [("completed", False), ("error", True), ("aborted", True)])
def test_pi_says_how_a_turn_came_to_its_end(pi: Stand, outcome: str, is_cut: bool) -> None:
    pi.event("agent_before_settle", outcome=outcome, entries=[])
    ((name, payload),) = pi.told(1)
    assert ADAPTERS[Agent.PI].hook_event(name, payload, 1).is_cut is is_cut


@pytest.mark.parametrize(
    ("case", "context", "leaves"),
    [
        ("idle", {}, True),
        ("at work", {"idle": False}, False),
        ("a message waits", {"pending": True}, False),
        ("half a thought is typed", {"draft": "half a th"}, False),
        ("blanks are typed", {"draft": " \n"}, True),
    ],
)
def test_pi_leaves_when_it_is_asked_and_idle(pi: Stand, case: str, context: object, leaves: bool) -> None:
    pi.event("session_start", reason="startup")
    pi.do("set", context)
    assert pi.do("signal") == int(leaves)


def test_pi_that_has_said_nothing_yet_stays(pi: Stand) -> None:
    assert pi.do("signal") == 0


def test_pi_listens_until_it_ends_and_no_longer(pi: Stand) -> None:
    assert pi.do("listens") == 1
    pi.event("session_shutdown", reason="reload")
    assert pi.do("listens") == 0


ONE = {"sessionID": "ses_1"}


def busy(stand: Stand, session: str = "ses_1") -> None:
    stand.event("session.status", properties={"sessionID": session, "status": {"type": "busy"}})


def idle(stand: Stand, session: str = "ses_1") -> None:
    stand.event("session.status", properties={"sessionID": session, "status": {"type": "idle"}})
    stand.event("session.idle", properties={"sessionID": session})


def test_opencode_tells_of_a_turn_once(opencode: Stand) -> None:
    for _ in range(3):
        busy(opencode)
    idle(opencode)
    idle(opencode)
    busy(opencode)
    told = sorted(name for name, _ in opencode.told(3))
    assert told == ["session.idle", "session.status", "session.status"]


def test_opencode_is_prompted_to_go_on_and_told_by_whom(opencode: Stand) -> None:
    opencode.answers("the claim is open")
    busy(opencode)
    idle(opencode)
    (prompt,) = until(lambda: opencode.do("prompts"))
    assert prompt["path"] == {"id": "ses_1"}
    (part,) = prompt["body"]["parts"]
    assert part["text"].startswith("[musterd] Your user did not write this.")
    assert part["text"].endswith("\n\nthe claim is open")
    assert EventKind.STOP in opencode.kinds(2)


@pytest.mark.parametrize("case", ["a subagent", "interrupted", "at work again"])
def test_opencode_is_left_alone(opencode: Stand, case: str) -> None:
    opencode.answers("the claim is open")
    if case == "a subagent":
        info = {"id": "ses_1", "parentID": "ses_0"}
        opencode.event("session.created", properties={**ONE, "info": info})
    busy(opencode)
    if case == "interrupted":
        opencode.event("session.error", properties={**ONE, "error": {"name": "MessageAbortedError"}})
    with opencode.waiting():
        idle(opencode)
        if case == "at work again":
            busy(opencode)
        kinds = opencode.kinds(3)
    assert (EventKind.STOP in kinds) is (case == "at work again")
    assert opencode.do("prompts") == []


def test_opencode_asks_again_after_an_interrupt(opencode: Stand) -> None:
    opencode.event("session.error", properties=ONE)
    idle(opencode)
    busy(opencode)
    opencode.answers("the claim is open")
    idle(opencode)
    assert len(until(lambda: opencode.do("prompts"))) == 1


def test_opencode_goes_on_where_the_hook_is_gone(opencode: Stand) -> None:
    opencode.hook.unlink()
    busy(opencode)
    idle(opencode)
    assert opencode.do("prompts") == []
