"""`musterctl doctor`: 0 when all is well, else 1 and what to do."""

from pathlib import Path

import pytest

from helpers.installation import Installation
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


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_daemon_is_a_finding(private_bus: PrivateBus, tmp_path: Path, options: list[str]) -> None:
    outcome = Installation(tmp_path, private_bus.address).ctl("doctor", *options)
    assert outcome.status == 1
    assert "musterd is not running there." in outcome.stdout


def test_findings_for_programs(musterd: Installation) -> None:
    findings = musterd.json("doctor")
    assert {"Check", "Grade", "Text", "Advice"} == set(findings[0])
    assert {finding["Grade"] for finding in findings} <= {"ok", "note"}
