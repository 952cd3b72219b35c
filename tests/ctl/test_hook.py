"""`musterctl hook`: an agent reads an answer in its dialect, in time, whatever goes wrong."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.daemon import Daemon
from helpers.installation import Installation
from helpers.private_bus import PrivateBus
from musterd.agents.catalog import ADAPTERS
from musterd.core.session import Agent

SOON = {"MUSTERD_HOOK_TIMEOUT": "0.3"}  # without it a test would only take longer
PAYLOAD = {"session_id": "0199a213-81c0-7800-8aa1-bbab2a035a53", "hook_event_name": "Stop", "cwd": "/srv"}

NOTHING = [
    (agent.value, event, ADAPTERS[agent].nothing_to_say(event))
    for agent in (Agent.CODEX, Agent.GEMINI, Agent.PI)
    for event in ("Stop", "SessionStart", "AfterAgent")
]


@pytest.fixture
def deserted(private_bus: PrivateBus, tmp_path: Path) -> Installation:
    return Installation(tmp_path, private_bus.address)


@pytest.mark.parametrize(("agent", "event", "nothing"), NOTHING)
def test_without_a_daemon_there_is_nothing_to_say(
    deserted: Installation, agent: str, event: str, nothing: str
) -> None:
    outcome = deserted.ctl("hook", agent, event, stdin=json.dumps(PAYLOAD))
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, nothing, "")


@pytest.mark.parametrize(
    ("case", "payload"),
    [
        ("not JSON", b"{"),
        ("nothing", b""),
        ("not UTF-8", b'{"a": "\xff"}'),
        ("too large", b'{"a": "' + b"x" * (256 * 1024) + b'"}'),
        ("nested too deeply", b"[" * 100_000 + b"]" * 100_000),
    ],
)
def test_input_that_cannot_be_used(musterd: Installation, case: str, payload: bytes) -> None:
    outcome = musterd.ctl("hook", "codex", "Stop", stdin=payload)
    nothing = ADAPTERS[Agent.CODEX].nothing_to_say("Stop")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, nothing, ""), case


@pytest.mark.parametrize(
    "args",
    [
        ["hook"],
        ["hook", "codex"],
        ["hook", "codex", "Stop", "--nonsense"],
        ["hook", "codex", "Stop", "more"],
        ["hook", "hal", "Stop"],
        ["hook", "--user", "--system", "codex", "NoSuchEvent"],
        ["--bus", "nonsense", "hook", "aider", "Stop"],
    ],
)
def test_wrong_use_is_silent(musterd: Installation, args: list[str]) -> None:
    outcome = musterd.ctl(*args, stdin="{}")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert "Traceback" not in outcome.stdout


def test_a_report_reaches_the_daemon(musterd: Installation) -> None:
    hook = " ".join(musterd.ctl_command("hook", "codex", "SessionStart"))
    script = f'read start; echo "$PAYLOAD" | {hook}; echo "status $?"; read end'
    environ = {**musterd.environ, "PAYLOAD": json.dumps({**PAYLOAD, "hook_event_name": "SessionStart"})}
    with subprocess.Popen(
        ["sh", "-c", script], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as agent:
        session_id = musterd.register(agent, "--agent", "codex")
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(b"start\n")
        agent.stdin.flush()
        said = agent.stdout.readline().decode()
        heard = json.loads(musterd.ctl("list", "--json").stdout)
        musterd.ctl("release", session_id)
    assert said == ADAPTERS[Agent.CODEX].nothing_to_say("SessionStart") + "status 0\n"
    assert [(s["Id"], s["AgentSessionId"], s["StateSource"]) for s in heard] == [
        (session_id, PAYLOAD["session_id"], "hook")
    ]


def test_outside_of_sessions_a_hook_is_polite(musterd: Installation) -> None:
    outcome = musterd.ctl("hook", "codex", "SessionStart", stdin=json.dumps(PAYLOAD))
    nothing = ADAPTERS[Agent.CODEX].nothing_to_say("SessionStart")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, nothing, "")


def test_a_daemon_that_hangs_is_not_waited_for(private_bus: PrivateBus, tmp_path: Path) -> None:
    with Daemon(tmp_path, private_bus) as daemon:
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            # Within the time-out of the test: who waits as long as any other call does is ended by that.
            outcome = Installation(daemon.home, private_bus.address).ctl(
                "hook", "codex", "Stop", stdin=json.dumps(PAYLOAD), **SOON
            )
        finally:
            daemon.process.send_signal(signal.SIGCONT)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout == ADAPTERS[Agent.CODEX].nothing_to_say("Stop")


def test_an_agent_that_never_closes_the_input_is_not_waited_for(musterd: Installation) -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            musterd.ctl_command("hook", "codex", "Stop"),
            stdin=reader,
            capture_output=True,
            env={**musterd.environ, **SOON},
            timeout=60,
            check=False,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_agent_that_reads_no_more_gets_no_error(musterd: Installation) -> None:
    command = musterd.ctl_command("hook", "codex", "Stop")
    with subprocess.Popen(
        command, env=musterd.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, stderr = process.communicate(b"{}")
    assert (process.returncode, stderr) == (0, b"")
