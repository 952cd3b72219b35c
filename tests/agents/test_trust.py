"""Whether codex runs a hook: the hashes are those that its app-server (0.169.0) answers to hooks/list."""

import pytest

from musterd.agents.catalog import ADAPTERS
from musterd.agents.hooks import Installed
from musterd.core.session import Agent

FILE = "/home/user/.codex/hooks.json"
COMMAND = {"type": "command", "command": "/usr/bin/musterd-hook codex Stop", "timeout": 10}

HASHES = [
    (
        "stop:0:0",
        Installed("Stop", 0, 0, None, COMMAND),
        "f94ca9ccee26cfd5e95df54f5e9ad57e51df244b110b661ef843bfa982589d81",
    ),
    (
        "pre_tool_use:2:1",
        Installed("PreToolUse", 2, 1, "Bash", {"type": "command", "command": "x y"}),
        "c1f62faffac86f26de423797c547ddffa22fc73cf49622fb50170fb8628af0ab",
    ),
    (
        "interrupt:0:0",
        Installed("Interrupt", 0, 0, None, {"type": "command", "command": "a b", "timeout": 3}),
        "8c246c2a6c5df2480b3ba9099680355f472346f3b382fcbc6e05a6fff847e05d",
    ),
]


def doubt(hook: Installed, place: str, **state: object) -> str:
    config = {"hooks": {"state": {f"{FILE}:{place}": state}}}
    return ADAPTERS[Agent.CODEX].hooks_doubt([hook], FILE, {"config.toml": config})


@pytest.mark.parametrize(("place", "hook", "known"), HASHES)
def test_a_hook_with_its_own_hash_is_trusted(place: str, hook: Installed, known: str) -> None:
    assert doubt(hook, place, trusted_hash=f"sha256:{known}") == ""
    assert doubt(hook, place, trusted_hash=f"sha256:{known}", enabled=True) == ""
    assert doubt(hook, place, trusted_hash=f"sha256:{known}", enabled=False).endswith("disabled in codex")
    assert "has changed since" in doubt(hook, place, trusted_hash=f"sha256:{known[::-1]}")
    assert "not trusted yet" in doubt(hook, "stop:9:9", trusted_hash=f"sha256:{known}")
    assert "not trusted yet" in doubt(hook, place)


@pytest.mark.parametrize("config", [{}, {"hooks": 1}, {"hooks": {"state": []}}])
def test_a_configuration_without_any_trusts_nothing(config: dict[str, object]) -> None:
    hook = HASHES[0][1]
    assert "not trusted yet" in ADAPTERS[Agent.CODEX].hooks_doubt([hook], FILE, {"config.toml": config})
    assert "not trusted yet" in ADAPTERS[Agent.CODEX].hooks_doubt([hook], FILE, {})
