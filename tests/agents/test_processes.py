"""Which processes of real agents lead a session, and that nothing else does."""

from dataclasses import replace

import pytest

from musterd.agents.base import ProcessFacts, Role
from musterd.agents.catalog import ADAPTERS
from musterd.core.session import Agent

from .captured import Captured, every
from .test_states import name

ALL = ("pi", "pi-old", "codex", "opencode", "gemini")
ROLES = {"pi": [Role.LEADER], "pi-old": [Role.LEADER], "codex": [Role.LAUNCHER, Role.LEADER],
         "opencode": [Role.LEADER], "gemini": [Role.LAUNCHER, Role.LEADER]}  # fmt: skip


def roles(agent: Agent, tree: list[ProcessFacts]) -> list[Role]:
    by_pid = {process.pid: process for process in tree}
    found = [ADAPTERS[agent].role(process, by_pid.get(process.ppid)) for process in tree]
    return [role for role in found if role]


@pytest.mark.parametrize(
    ("captured", "stage"), every("fresh", "idle", "tool", "resumed", names=ALL), ids=name
)
def test_one_leader_and_its_launcher(captured: Captured, stage: str) -> None:
    """Its tools are none, and to the other adapters it is nothing."""
    tree = captured.tree(stage)
    for agent in ADAPTERS:
        expected = ROLES[captured.name] if agent is captured.adapter.agent else []
        assert roles(agent, tree) == expected


def process(executable: str, *argv: str, comm: str = "", **environ: str) -> ProcessFacts:
    return ProcessFacts(
        9, 1, 1000, 5, 0, executable, comm or executable.rpartition("/")[2], argv, "/", environ
    )


@pytest.mark.parametrize(
    ("case", "agent", "facts", "role"),
    [
        ("named pi, but no runtime", Agent.PI, process("/usr/bin/pi", "pi"), None),
        ("a shell that runs a pi", Agent.PI, process("/usr/bin/bash", "bash", "/usr/bin/pi"), None),
        ("pi, not yet named", Agent.PI, process("/usr/bin/node", "node", "/usr/bin/pi"), Role.LEADER),
        ("a node with another title", Agent.PI, process("/usr/bin/node", "pipe", "", comm="pipe"), None),
        ("an argument called pi", Agent.PI, process("/usr/bin/node", "node", "server.js", "pi"), None),
        ("codex as a server", Agent.CODEX, process("/opt/codex", "codex", "app-server"), None),
        ("codex with a prompt", Agent.CODEX, process("/opt/codex", "codex", "fix it"), Role.LEADER),
        ("opencode as a server", Agent.OPENCODE, process("/opt/opencode", "opencode", "serve"), None),
        ("gemini without a launcher", Agent.GEMINI,
         process("/usr/bin/node", "node", "/usr/bin/gemini", GEMINI_CLI_NO_RELAUNCH="true"), Role.LEADER),
        ("the native claude", Agent.CLAUDE_CODE,
         process("/home/u/.local/share/claude/versions/2.1.329", "claude", comm="claude"), Role.LEADER),
        ("claude of npm", Agent.CLAUDE_CODE,
         process("/usr/bin/node", "claude", "", "", comm="claude"), Role.LEADER),
        ("its supervisor", Agent.CLAUDE_CODE,
         process("/home/u/.local/share/claude/versions/2.1.329", "claude", "daemon", "run"), None),
        ("aider", Agent.AIDER, process("/usr/bin/python3.11", "python3", "/usr/bin/aider"), Role.LEADER),
        ("aider as a module", Agent.AIDER,
         process("/usr/bin/python3.11", "python3", "-m", "aider"), Role.LEADER),
        ("another python", Agent.AIDER, process("/usr/bin/python3.11", "python3", "-m", "pip"), None),
        ("anything", Agent.OTHER, process("/usr/bin/vi", "vi"), None),
    ],
)  # fmt: skip
def test_role(case: str, agent: Agent, facts: ProcessFacts, role: Role | None) -> None:
    assert ADAPTERS[agent].role(facts, None) is role


def test_codex_that_runs_itself_is_its_own_tool() -> None:
    codex = process("/opt/codex", "codex")
    sandbox = replace(codex, pid=10, ppid=9, argv=("codex-linux-sandbox", "--", "ls"))
    assert ADAPTERS[Agent.CODEX].role(sandbox, codex) is None


@pytest.mark.parametrize(
    ("captured", "expected"),
    [
        ("pi", "/usr/local/lib/node_modules/@earendil-works/pi-coding-agent/package.json"),
        ("codex", "/usr/local/lib/node_modules/@openai/codex/package.json"),
        ("opencode", "/usr/local/lib/node_modules/opencode-ai/package.json"),
        ("gemini", "/usr/local/lib/node_modules/@google/gemini-cli/package.json"),
    ],
)
def test_package_is_found_beside_the_command(captured: str, expected: str) -> None:
    leader = [p for p in Captured(captured).tree("idle") if ROLES[captured]][-1]
    assert expected in Captured(captured).adapter.package_files(leader)


@pytest.mark.parametrize(
    ("agent", "package", "version", "supported"),
    [
        (Agent.PI, "@earendil-works/pi-coding-agent", "1.5.2", True),
        (Agent.PI, "@mariozechner/pi-coding-agent", "0.73.1", False),
        (Agent.PI, "@earendil-works/pi-coding-agent", "2.0.0", False),
        (Agent.CODEX, "@openai/codex", "0.169.0", True),
        (Agent.CODEX, "@openai/codex", "0.170.0", False),
        (Agent.OPENCODE, "opencode-ai", "1.18.33", True),
        (Agent.GEMINI, "@google/gemini-cli", "0.61.0", True),
        (Agent.CLAUDE_CODE, "@anthropic-ai/claude-code", "2.1.329", False),
    ],
)
def test_version(agent: Agent, package: str, version: str, supported: bool) -> None:
    adapter = ADAPTERS[agent]
    assert adapter.version(f'{{"name": "{package}", "version": "{version}"}}') == version
    assert (adapter.unsupported(version) == "") is supported


@pytest.mark.parametrize("text", ["", "[]", '{"name": "left-pad", "version": "1.0.0"}'])
def test_version_of_another_package_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ADAPTERS[Agent.PI].version(text)


def test_native_codex_package_has_its_platform_in_the_version() -> None:
    text = '{"name": "@openai/codex", "version": "0.169.0-linux-x64"}'
    assert ADAPTERS[Agent.CODEX].version(text) == "0.169.0"


@pytest.mark.parametrize("stage", ["idle", "tool", "resumed"])
def test_codex_names_its_thread_by_its_lock(stage: str) -> None:
    codex = Captured("codex")
    locked = [line.rpartition(" ")[2] for line in codex.stages[stage]["locks"]]
    opened = codex.stages[stage]["tree"][1]["files"]
    thread = codex.session(stage).agent_session_id or codex.adapter.open_session((), locked)
    assert thread
    assert codex.adapter.open_session(opened, locked) == thread
    assert codex.adapter.open_session(opened, ()) == thread


def test_codex_with_two_threads_stands_for_none() -> None:
    locks = [
        f"/home/user/.codex/thread-writer-locks/01a1fd9f-c026-7c71-986d-d6067fb42bc{n}.lock" for n in "ab"
    ]
    assert ADAPTERS[Agent.CODEX].open_session((), locks) == ""


def test_codex_has_the_records_of_all_its_threads_open() -> None:
    one, two = (f"01a1fd9f-c026-7c71-986d-d6067fb42bc{n}" for n in "ab")
    record = f"/home/user/.codex/sessions/2026/11/21/rollout-2026-11-21T10-49-13-{one}.jsonl"
    locks = [f"/home/user/.codex/thread-writer-locks/{thread}.lock" for thread in (one, two)]
    found = ADAPTERS[Agent.CODEX].open_transcripts(["/home/user/.codex/state_5.sqlite", record], locks)
    assert found == {one: record, two: ""}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (
            ["node", "/usr/lib/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js", "/srv"],
            True,
        ),
        (["npm exec @modelcontextprotocol/server-memory"], True),
        (["node", "/home/u/.npm/_npx/1/node_modules/.bin/mcp-server-git"], True),
        (["node", "/usr/lib/node_modules/@playwright/mcp/cli.js"], False),
        (["node", "/usr/bin/context7-mcp"], True),
        (["node", "/usr/bin/typescript-language-server", "--stdio"], True),
        (["node", "build.js", "one", "two", "three", "mcp-server-git"], False),
        (["node", "/srv/mcp/run-tests.js"], False),
        (["node", "tests/build-mcp.js"], False),
        (["python3", "-m", "pytest", "tests/test_mcp.py"], False),
        (["bash", "-c", "sleep 9; echo mcp-server-git"], False),
        (["sleep", "9"], False),
        # Words behind a script are its arguments.
        (["python3", "download.py", "my_mcp"], False),
        (["node", "/usr/bin/npx", "tsc", "-p", "my-mcp"], False),
        (["npm exec tsc -p my-mcp"], False),
        (["node", "build.js", "typescript-language-server"], False),
        (["uv", "run", "pytest", "my_mcp"], False),
        # Nor is it one by a word that may be the value of an option, a script of a project, a directory.
        (["node", "/usr/bin/npx", "-p", "my-mcp", "tsc"], False),
        (["node", "-r", "my-mcp", "build.js"], False),
        (["python3", "-c", "import my_mcp"], False),
        (["npm run my-mcp"], False),
        (["node", "/usr/bin/npm", "run", "my-mcp"], False),
        (["python3", "/home/u/mcp-server-git/tests/all.py"], False),
        (["node", "tests/mcp-server-test.js"], False),
        (["uvx", "--from", "my-mcp", "build-all"], False),
        # The package behind a runner, and its options, decides.
        (["node", "/usr/bin/npx", "-y", "@upstash/context7-mcp@latest", "--stdio"], True),
        (["node", "/usr/bin/npx", "--yes", "mcp-server-git"], True),
        (["npm exec @upstash/context7-mcp --api-key x"], True),
        (["uvx", "mcp-server-git", "--repository", "/srv/test"], True),
        (["uvx", "--from", "git-tools", "mcp-server-git"], True),
        (["uv", "--directory", "/srv/work", "run", "mcp-server-git"], True),
        (["uv", "tool", "run", "mcp-server-git"], True),
        (["python3", "/home/u/.cache/uv/bin/mcp-server-git", "--repository", "/srv"], True),
        (["python3", "-u", "-m", "my_mcp"], True),
        (["node", "--max-old-space-size=99", "/usr/bin/context7-mcp"], True),
        (["mcp-server-git"], True),
        (["rust-analyzer"], True),
        (["node", "/usr/lib/node_modules/typescript/lib/tsserver.js"], True),
        (["node", "/usr/lib/node_modules/typescript/lib/typingsInstaller.js", "--enableTelemetry"], True),
        (["node", "/home/u/.local/share/opencode/bin/vscode-eslint/server/out/eslintServer.js"], True),
        (["node", "/home/u/.cache/opencode/node_modules/.bin/bash-language-server", "start"], True),
        (["rust-analyzer-proc-macro-srv"], True),
        (["node", "/srv/node_modules/.bin/eslint", "--fix", "."], False),
    ],
)
def test_helpers_are_known_by_what_they_run(argv: list[str], expected: bool) -> None:
    program = "/usr/bin/" + ("node" if argv[0].startswith(("node", "npm")) else argv[0])
    for agent in (Agent.PI, Agent.CODEX, Agent.OPENCODE, Agent.GEMINI, Agent.CLAUDE_CODE):
        assert ADAPTERS[agent].is_helper(process(program, *argv)) is expected


@pytest.mark.parametrize(("captured", "stage"), every("tool", "queued", "subagent", names=ALL), ids=name)
def test_tools_are_no_helpers(captured: Captured, stage: str) -> None:
    tools = [process for process in captured.tree(stage) if process.comm in ("bash", "sleep")]
    assert tools
    assert not any(captured.adapter.is_helper(tool) for tool in tools)
