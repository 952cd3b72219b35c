"""How a conversation is brought back: by its id, with the flags that its agent was started with."""

import shlex

import pytest

from helpers.builders import session
from musterd.agents.catalog import ADAPTERS
from musterd.core.session import Agent

NODE = "/usr/bin/node --max-old-space-size=12052"


@pytest.mark.parametrize(
    ("agent", "command", "resumed"),
    [
        (Agent.CODEX, "codex", "codex resume ID"),
        (Agent.CODEX, "codex -m gpt-9 --sandbox=workspace-write 'fix it'",
         "codex resume ID -m gpt-9 --sandbox=workspace-write"),
        (Agent.CODEX, "codex resume ID --dangerously-bypass-hook-trust 'and on'",
         "codex resume ID --dangerously-bypass-hook-trust"),
        (Agent.CODEX, "/opt/vendor/codex -c 'a.b=\"x y;\"' -p work -a never -s read-only --cd sub -i a.png",
         "codex resume ID -c 'a.b=\"x y;\"' -p work -a never -s read-only"),
        (Agent.CODEX, "codex --unknown -m gpt-9 -- --search", "codex resume ID -m gpt-9"),
        (Agent.CODEX, "codex -C --search", "codex resume ID"),
        (Agent.CODEX, "codex 'use --search' -m", "codex resume ID"),
        (Agent.GEMINI, f"{NODE} /usr/bin/gemini --approval-mode=yolo --resume OLD -i --yolo",
         "gemini --resume ID --approval-mode=yolo"),
        (Agent.GEMINI, f"{NODE} /usr/bin/gemini -s --model pro 'a question'",
         "gemini --resume ID -s --model pro"),
        (Agent.PI, "pi '' '' ''", "pi --session ID"),
        (Agent.PI, "node /usr/bin/pi --model sonnet:high --api-key secret --thinking low --name x hello",
         "pi --session ID --model sonnet:high --thinking low"),
        (Agent.OPENCODE, "opencode src -m a/b --agent plan --prompt 'fix it'",
         "opencode --session ID -m a/b --agent plan"),
        (Agent.OPENCODE, "opencode --session OLD", "opencode --session ID"),
        (Agent.CLAUDE_CODE, "claude --add-dir ../a ../b --model opus --permission-mode plan 'fix it'",
         "claude --resume ID --add-dir ../a ../b --model opus --permission-mode plan"),
        (Agent.CLAUDE_CODE, "claude --mcp-config a.json b.json --settings s.json --plugin-dir p -p hi",
         "claude --resume ID --mcp-config a.json b.json --settings s.json --plugin-dir p"),
        (Agent.CLAUDE_CODE, "claude --append-system-prompt --verbose --add-dir", "claude --resume ID"),
        (Agent.CLAUDE_CODE, "", "claude --resume ID"),
    ],
)  # fmt: skip
def test_the_same_flags_are_used_again_and_no_prompt(agent: Agent, command: str, resumed: str) -> None:
    ended = session(agent=agent, agent_session_id="ID", command=tuple(shlex.split(command)))
    assert shlex.join(ADAPTERS[agent].resume_command(ended)) == resumed


@pytest.mark.parametrize("agent", list(Agent))
def test_without_its_id_no_conversation_can_be_resumed(agent: Agent) -> None:
    ended = session(agent=agent, agent_session_id="", command=("x", "--model", "y"))
    assert ADAPTERS[agent].resume_command(ended) == ()


RESUMABLE = (Agent.CLAUDE_CODE, Agent.CODEX, Agent.GEMINI, Agent.OPENCODE, Agent.PI)


@pytest.mark.parametrize("agent", RESUMABLE)
@pytest.mark.parametrize("odd", ["--yolo", "-c", "a b", "a/../b", "a;b", "a\n", "é", ".hidden", "x" * 129])
def test_id_that_could_be_read_as_anything_else_brings_nothing_back(agent: Agent, odd: str) -> None:
    assert ADAPTERS[agent].resume_command(session(agent=agent, agent_session_id=odd)) == ()


@pytest.mark.parametrize("agent", RESUMABLE)
@pytest.mark.parametrize(
    "plain", ["01a1fdba-37cb-74e1-aeaa-0826539fdef8", "ses_e0243c8b", "v1.2", "x" * 128]
)
def test_plain_id_brings_its_conversation_back(agent: Agent, plain: str) -> None:
    assert plain in ADAPTERS[agent].resume_command(session(agent=agent, agent_session_id=plain))


@pytest.mark.parametrize("agent", list(Agent))
def test_resuming_twice_changes_nothing(agent: Agent) -> None:
    started = ("x", "--model", "y", "--sandbox", "read-only", "a prompt")
    once = session(agent=agent, agent_session_id="ID", command=started)
    command = ADAPTERS[agent].resume_command(once)
    again = session(agent=agent, agent_session_id="ID", command=command)
    assert ADAPTERS[agent].resume_command(again) == command
