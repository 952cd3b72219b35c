"""`musterctl doctor`: 0 when all is well, else 1 and what to do."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.installation import Installation, running_musterd
from helpers.private_bus import PrivateBus

from .conftest import Enrol


def test_a_healthy_daemon(musterd: Installation, enrol: Enrol) -> None:
    enrol()
    outcome = musterd.ctl("doctor")
    assert (outcome.status, outcome.stderr) == (0, ""), outcome
    for line in ("✓ daemon: ", "✓ health: ok", "✓ pressure: ", "✓ configuration: no mistakes", "✓ reaper: "):
        assert line in outcome.stdout


def test_an_agent_that_was_never_heard_of(musterd: Installation, enrol: Enrol) -> None:
    session_id = enrol("--agent", "codex")
    outcome = musterd.ctl("doctor")
    assert outcome.status == 1
    assert f"✗ session {session_id}: neither a hook nor a status of codex was heard of" in outcome.stdout
    assert "  -> " in outcome.stdout


def test_mistakes_in_the_configuration(musterd: Installation) -> None:
    file = musterd.home / ".config" / "musterd" / "musterd.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[reaper]\ngrace = "soon"\n')
    try:
        outcome = musterd.ctl("doctor")
    finally:
        file.unlink()
        file.parent.rmdir()
    assert outcome.status == 1
    assert f"✗ configuration: {file}:2: grace: 'soon' is not a time span" in outcome.stdout
    assert "  -> Correct it, then let the daemon read it again (SIGHUP).\n" in outcome.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_daemon_is_a_finding(private_bus: PrivateBus, tmp_path: Path, options: list[str]) -> None:
    outcome = Installation(tmp_path, private_bus.address).ctl("doctor", *options)
    assert outcome.status == 1
    assert "musterd is not running there." in outcome.stdout


def test_findings_for_programs(musterd: Installation) -> None:
    findings = musterd.json("doctor")
    assert {"Check", "Grade", "Text", "Advice"} == set(findings[0])
    assert {finding["Grade"] for finding in findings} <= {"ok", "note"}


@pytest.fixture
def codex_home(musterd: Installation) -> Iterator[Path]:
    home = musterd.home / ".codex"
    home.mkdir()
    yield home
    shutil.rmtree(home)


def test_hooks_of_an_agent_that_is_here(musterd: Installation, codex_home: Path) -> None:
    def said() -> list[str]:
        return [line for line in musterd.ctl("doctor").stdout.splitlines() if "hooks" in line]

    install = "  -> 'musterctl hooks install codex' puts them in."
    assert said() == ["- hooks of codex: not installed: codex is only watched from outside", install]
    assert musterd.ctl("hooks", "install", "codex").status == 0
    untrusted = "✗ hooks of codex: installed, but do not run: not trusted yet: start codex"
    assert said()[0].startswith(untrusted)
    hooks = codex_home / "hooks.json"
    hooks.write_text(hooks.read_text().replace("codex Stop", "codex stop"))
    assert said() == ["✗ hooks of codex: outdated: not as they would be installed now", install]
    hooks.write_text("{")
    assert said()[0].startswith(f"✗ hooks of codex: {hooks} is not right: ")
    assert musterd.ctl("doctor").status == 1


def test_a_hook_that_was_heard_is_told(musterd: Installation, codex_home: Path) -> None:
    assert musterd.json("hooks", "status", "codex")[0]["HeardUSec"] == 0
    hook = " ".join(musterd.ctl_command("hook", "codex", "SessionStart"))
    before = time.time_ns() // 1000
    with subprocess.Popen(
        ["sh", "-c", f"read start; echo '{{}}' | {hook}; read end"],
        env=musterd.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as agent:  # fmt: skip
        assert agent.stdin
        assert agent.stdout
        session_id = musterd.register(agent, "--agent", "codex")
        agent.stdin.write(b"\n")
        agent.stdin.flush()
        assert agent.stdout.read(2) == b"{}"
        (row,) = musterd.json("hooks", "status", "codex")
        assert before <= row["HeardUSec"] <= time.time_ns() // 1000
        assert f"session {session_id}: neither a hook" not in musterd.ctl("doctor").stdout
        agent.stdin.write(b"\n")
        agent.stdin.close()
    assert musterd.ctl("release", session_id).status == 0


def test_a_stop_gate_that_answers_when_nobody_waits_any_more(tmp_path: Path) -> None:
    def said(**environ: str) -> list[str]:
        told = musterd.ctl("doctor", **environ).stdout.splitlines()
        return [line for line in told if "hook-timeout" in line]

    late = "✗ stop gate: [stop-gate] hook-timeout is 4 s, but"
    with running_musterd(tmp_path, '[stop-gate]\nhook-timeout = "4s"\n') as musterd:
        here = f"{late} a hook here (MUSTERD_HOOK_TIMEOUT) waits"
        assert said() == []
        assert said(MUSTERD_HOOK_TIMEOUT="") == [f"{here} 1.5 s only"]
        assert musterd.ctl("hooks", "install", "claude-code", "codex", "pi").status == 0
        assert said() == [f"{late} codex waits 3 s only", f"{late} pi waits 2 s only"]
        assert said(MUSTERD_HOOK_TIMEOUT="3.5")[0] == f"{here} 3.5 s only"


def test_what_is_missing_without_a_program_is_said(musterd: Installation, tmp_path: Path) -> None:
    shown = musterd.ctl("doctor", PATH=str(tmp_path)).stdout
    assert "- tmux: not installed: screens of sessions cannot be looked at" in shown
    assert "- git: not installed: uncommitted work is not known, so the stop gate holds nobody" in shown
