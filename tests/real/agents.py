"""Runs a real agent program as a user would: in a terminal, with a home of its own, on a model on loopback.

    with Lab(tmp_path) as lab:
        pane = lab.start(AGENTS["pi"])
        pane.submit("hello MOCK:sleep=5")
        pane.wait_for(r"MOCK-DONE")

Every agent gets an empty environment, dummy keys and a tmux server of its own; as root also a network
namespace in which there is nothing but loopback. Whatever still runs at the end is killed by its pid.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path
from typing import Self, TypeVar

from . import install

HERE = Path(__file__).parent
RECORD = HERE / "hooks" / "record.py"

Found = TypeVar("Found")

PATIENCE = 240.0  # seconds, on a busy machine: these are big programs
FOR_EVER = 3600  # seconds: what takes as long is ended by the test
HOOK_PATIENCE = 60  # seconds


class Overdue(AssertionError):
    """What should have happened did not, in time."""


def until(look: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """The first truthy thing `look` sees. A foreign program's screen tells nobody that it changed."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Overdue(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return found


@dataclass(frozen=True, slots=True)
class Agent:
    """How one agent program is run. `{url}` in a value is the model's."""

    key: str  # in install.PACKAGES
    command: str
    ready: str  # on the screen once it takes input
    configure: Callable[["Home"], None]
    resume: tuple[str, ...]  # `{id}` is the session's
    quit: tuple[str, ...]  # keys
    transcripts: str  # pattern below HOME
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    asking: tuple[str, ...] | None = None  # arguments with which it asks before it runs `touch`
    ask: str = "please MOCK:sh=touch asked"
    node: bool = False  # wants the newer Node

    @property
    def name(self) -> str:
        """As musterd calls it."""
        return self.key.removesuffix("-old")


@dataclass(frozen=True, slots=True)
class Home:
    """What a configuration is written from."""

    path: Path
    project: Path
    url: str
    records: Path | None  # where hooks are recorded; None: they are not this configuration's to write

    def hooks(self, events: tuple[str, ...], timeout: int) -> dict[str, object]:
        """That record them; `timeout` in the agent's unit: seconds for codex, milliseconds for gemini."""
        if not self.records:
            return {}
        report = shlex.join([str(RECORD), str(self.records)])
        return {
            event: [{"hooks": [{"type": "command", "command": f"{report} {event}", "timeout": timeout}]}]
            for event in events
        }

    def write(self, name: str, content: str | dict[str, object]) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=1) + "\n")


def configure_pi(home: Home) -> None:
    provider = {
        "baseUrl": f"{home.url}/v1", "api": "openai-completions", "apiKey": "dummy",
        "compat": {"supportsDeveloperRole": False, "supportsReasoningEffort": False},
        "models": [{"id": "mock-model", "contextWindow": 128000, "maxTokens": 8192}],
    }  # fmt: skip
    home.write(".pi/agent/models.json", {"providers": {"mock": provider}})
    chosen = {"defaultProvider": "mock", "defaultModel": "mock-model", "enableInstallTelemetry": False}
    compaction = {"enabled": True, "keepRecentTokens": 10}  # so that there is something to compact
    home.write(
        ".pi/agent/settings.json", {**chosen, "defaultProjectTrust": "always", "compaction": compaction}
    )
    if home.records:
        home.write(".pi/agent/extensions/hooks.ts", (HERE / "hooks" / "pi.ts").read_text())


CODEX_EVENTS = (
    "SessionStart", "SessionEnd", "UserPromptSubmit", "PreToolUse", "PostToolUse", "PermissionRequest",
    "PreCompact", "PostCompact", "SubagentStart", "SubagentStop", "Stop", "Interrupt",
)  # fmt: skip

CODEX_CONFIG = """
model = "mock-model"
model_provider = "mock"
approval_policy = "on-request"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[model_providers.mock]
name = "mock"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "MOCK_API_KEY"
stream_idle_timeout_ms = 3600000
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false

# Each of these would look for a server of its maker's at start.
[features]
daemon_auto_start = false
plugins = false
remote_plugin = false
apps = false

[projects."{project}"]
trust_level = "trusted"
"""


def configure_codex(home: Home) -> None:
    home.write(".codex/config.toml", CODEX_CONFIG.format(url=home.url, project=home.project))
    home.write(".codex/hooks.json", {"hooks": home.hooks(CODEX_EVENTS, timeout=10)})


def configure_opencode(home: Home) -> None:
    model = {"name": "Mock Model", "limit": {"context": 128000, "output": 8192}}
    provider = {
        "npm": "@ai-sdk/openai-compatible", "name": "Mock",
        "options": {"baseURL": f"{home.url}/v1", "apiKey": "dummy", "timeout": False},
        "models": {"mock-model": model},
    }  # fmt: skip
    home.write(".config/opencode/opencode.json", {
        "autoupdate": False, "share": "disabled",
        "enabled_providers": ["mock"], "provider": {"mock": provider},
        "model": "mock/mock-model", "small_model": "mock/mock-model",
        "permission": {"bash": {"*": "allow", "touch *": "ask"}, "edit": "allow"},
    })  # fmt: skip
    if home.records:
        home.write(".config/opencode/plugins/hooks.js", (HERE / "hooks" / "opencode.js").read_text())


GEMINI_EVENTS = (
    "SessionStart", "SessionEnd", "BeforeAgent", "AfterAgent", "BeforeTool", "AfterTool", "Notification",
    "PreCompress",
)  # fmt: skip


def configure_gemini(home: Home) -> None:
    home.write(".gemini/settings.json", {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        # Its clean-up at start deletes sessions that were resumed.
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False,
                    "sessionRetention": {"enabled": False}},
        "tools": {"shell": {"inactivityTimeout": FOR_EVER}},
        "privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False},
        "hooks": home.hooks(GEMINI_EVENTS, timeout=5000),
    })  # fmt: skip


# What is installed, and how long an agent waits for it: as shipped, and in tests that are not about that.
LIMITS = {
    "pi": (".pi/agent/extensions/musterd.ts", "ANSWER_WITHIN = 2000", "ANSWER_WITHIN = 90000"),
    "codex": (".codex/hooks.json", '"timeout": 3', '"timeout": 90'),
    "opencode": (".config/opencode/plugins/musterd.js", "ANSWER_WITHIN = 2000", "ANSWER_WITHIN = 90000"),
    "gemini": (".gemini/settings.json", '"timeout": 5000', '"timeout": 90000'),
}


def be_patient(home: Path, name: str) -> None:
    """Let an agent wait longer for the hooks that musterctl has installed: a busy machine is slow."""
    file, shipped, patient = LIMITS[name]
    text = (home / file).read_text()
    assert shipped in text, f"'{file}' has no limit any more"
    (home / file).write_text(text.replace(shipped, patient))


PI = Agent(
    "pi", "pi", r"/128k", configure_pi, resume=("--session", "{id}"), quit=("C-d",),
    transcripts=".pi/agent/sessions/*/*.jsonl", env={"PI_OFFLINE": "1"}, node=True,
)  # fmt: skip

AGENTS = {
    "pi": PI,
    "pi-old": Agent("pi-old", "pi", PI.ready, configure_pi, PI.resume, PI.quit, PI.transcripts, env=PI.env),
    "codex": Agent(
        "codex", "codex", r"Ask Codex to do anything", configure_codex,
        resume=("resume", "{id}", "--dangerously-bypass-hook-trust"), quit=("C-c", "C-c"),
        transcripts=".codex/sessions/*/*/*/*.jsonl", args=("--dangerously-bypass-hook-trust",),
        env={"MOCK_API_KEY": "dummy"},
        asking=("--dangerously-bypass-hook-trust", "--sandbox", "workspace-write"),
        ask="please MOCK:escalate MOCK:sh=touch asked",
    ),
    "opencode": Agent(
        "opencode", "opencode", r"ctrl\+p commands", configure_opencode, resume=("--session", "{id}"),
        quit=("C-c", "C-c"), transcripts=".local/share/opencode/opencode.db", asking=(),
        env={
            "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            # Its built-in npm client would try for 70 s before anything is drawn.
            "npm_config_offline": "true", "npm_config_fetch_retries": "0",
        },
    ),
    "gemini": Agent(
        "gemini", "gemini", r"Type your message", configure_gemini,
        resume=("--approval-mode=yolo", "--resume", "{id}"), quit=("C-c", "C-c"),
        transcripts=".gemini/tmp/*/chats/*.jsonl", args=("--approval-mode=yolo",),
        env={
            "GEMINI_API_KEY": "dummy", "GOOGLE_GEMINI_BASE_URL": "{url}",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        },
        asking=("--approval-mode=default",),
    ),
}  # fmt: skip


class Lab:
    """One model server and one tmux server, both in one network namespace, and the homes of the agents."""

    def __init__(self, work: Path, musterctl: Path | None = None, *, records: bool = False) -> None:
        """With a `musterctl`, that installs hooks; with `records` they go into `hook_log`; else none."""
        self.work = work
        self.musterctl = musterctl
        self.records = records
        self.is_patient = True  # else hooks are as they are shipped
        self.home = work / "home"
        self.project = self.home / "project"
        self.hook_log = work / "hooks.jsonl"
        self.model_log = work / "model.jsonl"
        self.socket = work / "tmux"
        self._names = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for directory in (self.project, self.work / "tmp"):
            directory.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", str(self.project)], check=True, env=self._env())
        self.hook_log.touch()
        port_file = self.work / "port"
        self.model = self._stack.enter_context(subprocess.Popen(
            [*_alone(), sys.executable, str(HERE / "model.py"), str(port_file), str(self.model_log)],
            env=self._env(),
        ))  # fmt: skip
        self._stack.callback(self.model.kill)
        port = until(lambda: port_file.exists() and port_file.read_text(), PATIENCE, "the model listens")
        self.url = f"http://127.0.0.1:{port}"
        self.tmux("new-session", "-d", "-s", "keeper", "sleep", "infinity")
        self.tmux("set-option", "-g", "default-shell", "/bin/bash")
        self._stack.callback(self._end)
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def start(self, agent: Agent, *args: str, wait: bool = True) -> "Pane":
        """Types its command into a shell in a pane of its own, and waits for its prompt."""
        home = Home(self.home, self.project, self.url, self.hook_log if self.records else None)
        if not (self.home / f".configured-{agent.key}").exists():
            agent.configure(home)
            if self.musterctl:
                self.ctl("hooks", "install", agent.name)
                if self.is_patient:
                    be_patient(self.home, agent.name)
            home.write(f".configured-{agent.key}", "")
        pane = self.shell(agent)
        pane.submit(shlex.join([agent.command, *(args or agent.args)]))
        if wait:
            pane.wait_for(agent.ready)
        return pane

    def shell(self, agent: Agent) -> "Pane":
        self._names += 1
        name = f"{agent.key}-{self._names}"
        env = {key: value.format(url=self.url) for key, value in agent.env.items()}
        if self.records:
            env |= {"MUSTERD_RECORD": str(RECORD), "MUSTERD_RECORD_LOG": str(self.hook_log)}
        path = [str(install.bin_dir("node"))] * agent.node + [str(install.bin_dir(agent.key)), os.defpath]
        env["PATH"] = ":".join(path)
        # Not with tmux's -e: the PATH of the calling client would win.
        shell = ("env", *(f"{key}={value}" for key, value in env.items()), "bash", "--norc", "--noprofile")
        self.tmux("new-session", "-d", "-s", name, "-x", "110", "-y", "36", "-c", str(self.project), *shell)
        return Pane(self, name)

    def ctl(self, *arguments: str) -> str:
        """musterctl, as the user of the lab runs it."""
        command = [str(self.musterctl), *arguments]
        return subprocess.run(command, env=self._env(), capture_output=True, text=True, check=True).stdout

    def tmux(self, *arguments: str) -> str:
        first = not self.socket.exists() and not os.getuid()
        enter = ["nsenter", f"--net=/proc/{self.model.pid}/ns/net"] if first else []
        command = [*enter, "tmux", "-S", str(self.socket), "-f", "/dev/null", *arguments]
        return subprocess.run(command, env=self._env(), capture_output=True, text=True, check=True).stdout

    @property
    def hook(self) -> Path:
        """The program that the hooks of the agents run."""
        assert self.musterctl
        return self.musterctl.with_name("musterd-hook")

    @property
    def answers(self) -> int:
        """How many the model has given: each has its number in it."""
        return max((json.loads(line).get("number", 0) for line in whole_lines(self.model_log)), default=0)

    def hooks(self, since: int = 0) -> list[dict[str, object]]:
        return [json.loads(line) for line in whole_lines(self.hook_log)[since:]]

    def transcript(self, agent: Agent) -> Path:
        return max(self.home.glob(agent.transcripts), key=lambda file: file.stat().st_mtime)

    def _env(self) -> dict[str, str]:
        return {
            "HOME": str(self.home), "PATH": os.defpath, "TERM": "xterm-256color", "LANG": "C.UTF-8",
            "USER": "user", "SHELL": "/bin/bash", "TMPDIR": str(self.work / "tmp"),
        }  # fmt: skip

    def _end(self) -> None:
        left = [pid for pid in inhabitants(self.model.pid) if pid != self.model.pid]
        with suppress(subprocess.CalledProcessError):
            self.tmux("kill-server")
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Pane:
    lab: Lab
    name: str

    @property
    def shell_pid(self) -> int:
        return int(self.show("#{pane_pid}"))

    def show(self, form: str) -> str:
        return self.lab.tmux("display-message", "-p", "-t", self.name, form).strip()

    def screen(self, *options: str) -> str:
        return self.lab.tmux("capture-pane", "-p", *options, "-t", self.name)

    @property
    def has_read(self) -> bool:
        """Whether its program has taken all that was typed."""
        terminal = os.open(self.show("#{pane_tty}"), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            return not any(ioctl(terminal, termios.FIONREAD, bytes(4)))
        finally:
            os.close(terminal)

    def press(self, *keys: str) -> None:
        self.lab.tmux("send-keys", "-t", self.name, *keys)

    def type(self, text: str) -> None:
        """Waits for the echo: some agents take text and Enter in one burst for a paste."""
        self.lab.tmux("send-keys", "-t", self.name, "-l", text)
        self.wait_for(echo_of(text[-20:]))
        time.sleep(0.4)  # and for their burst timers, which nothing announces

    def submit(self, text: str) -> None:
        self.type(text)
        self.press("Enter")

    def escape(self, offer: str, done: Callable[[], object]) -> None:
        """opencode wants it twice, within 5 s."""
        self.insist("Escape", offer, done)

    def insist(self, key: str, offer: str, done: Callable[[], object]) -> None:
        """Press it as long as the screen offers that. Who has only just drawn it may not listen yet.

        But who stands still would hear all at once, and twice may be another order.
        """

        def is_over() -> object:
            if not done() and (shown := re.search(offer, self.screen(), re.MULTILINE)) and self.has_read:
                self.press(key)
                with suppress(Overdue):
                    until(lambda: done() or shown[0] not in self.screen(), 5, "it is taken")
            return done()

        self.wait_for(offer)
        until(is_over, PATIENCE, f"what {key} does, where {offer!r} stood")

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> str:
        self._until(lambda: re.search(pattern, self.screen(), re.MULTILINE), seconds, f"{pattern!r}")
        return self.screen()

    def wait_for_answer(self, after: int) -> None:
        """A later one than that."""

        def is_there() -> bool:
            return any(int(number) > after for number in _ANSWER.findall(self.screen()))

        self._until(is_there, PATIENCE, f"an answer after the {after}th")

    def _until(self, look: Callable[[], object], seconds: float, what: str) -> None:
        try:
            until(look, seconds, what)
        except Overdue as overdue:
            raise Overdue(f"{overdue}, which shows:\n{self.screen()}") from None

    def processes(self) -> list[int]:
        """All below the pane's shell, parents first."""
        return descendants(self.shell_pid)

    def runs(self, program: str) -> bool:
        """Whether one of them has that in its command line."""
        return any(program.encode() in _command_line(pid) for pid in self.processes())


_BORDERS = "│┃"  # of a composer
_ANSWER = re.compile(r"MOCK-(?:REPLY|DONE)-(\d+):")


def echo_of(text: str) -> str:
    """A pattern of it in a composer, which may begin a new line anywhere."""
    blank, new_line = rf"[\s{_BORDERS}]+", rf"(?:[ {_BORDERS}]*\n[ {_BORDERS}]*)?"
    return new_line.join(blank if char == " " else re.escape(char) for char in text)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def whole_lines(path: Path) -> list[str]:
    """Without one that is just being written."""
    return path.read_text().split("\n")[:-1]


def descendants(pid: int) -> list[int]:
    """Parents first. What has ended meanwhile has none."""
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                for child in map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split()):
                    found += [child, *descendants(child)]
    return found


def inhabitants(pid: int) -> list[int]:
    """Everything that runs in the lab: what left its process tree is still in its network namespace."""
    if os.getuid():
        return []
    space = os.readlink(f"/proc/{pid}/ns/net")
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and int(entry.name) > 1 and os.readlink(entry / "ns/net") == space:
                found.append(int(entry.name))
    return found


def _alone() -> list[str]:
    if os.getuid() or not shutil.which("unshare"):
        return []
    return ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
