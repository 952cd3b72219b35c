#!/usr/bin/env python3
"""Drives one real agent through its life and writes down what it shows: the captures in tests/agents.

    python -m real.capture pi DIRECTORY      (with tests/ on PYTHONPATH)

Each stage leaves `STAGE.screen` (text and colours) and an entry in `stages.json`: its processes, and how far
which transcript was written (a database as `STAGE.rows.jsonl`). `hooks.jsonl` has every hook call.
Paths are made neutral, long texts are cut; nothing else is changed.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import install
from .agents import AGENTS, HERE, Agent, Lab, Overdue, until

LONGEST = 160  # characters of a text in a transcript

SETTLED = {
    "pi": "agent_settled", "pi-old": "agent_end", "codex": "Stop", "opencode": "session.idle",
    "gemini": "AfterAgent",
}  # fmt: skip
TABLES = ("session", "message", "part", "session_input", "permission", "todo")
TELLING = (
    "AGENT", "AI_AGENT", "CLAUDE", "CODEX_", "GEMINI_CLI", "GEMINI_SESSION", "OPENCODE", "PI_", "TMUX", "_",
    "HOME",
)  # fmt: skip


DELEGATED = {
    "opencode": 'task {"description":"a nap","prompt":"MOCK:sleep=7","subagent_type":"general"}',
    "gemini": 'invoke_agent {"agent_name":"generalist","prompt":"MOCK:sleep=7"}',
}


class Recorder:
    def __init__(self, lab: Lab, agent: Agent, out: Path) -> None:
        self.lab, self.agent, self.out = lab, agent, out
        self.pane = lab.start(agent)
        self.stages: dict[str, object] = {}
        self._hooks = 0

    def stage(self, name: str) -> None:
        """Writes down everything that can be seen now, once no hook runs any more."""
        until(
            lambda: not any("record.py" in "".join(arguments(p)) for p in self.pane.processes()), 20, "hooks"
        )
        self._write(f"{name}.screen", self.pane.screen("-e").rstrip("\n") + "\n")
        seen: dict[str, object] = {
            "title": self.pane.show("#{pane_title}"),
            "alternate_screen": self.pane.show("#{alternate_on}") == "1",
            "locks": self._locks(),
            "tree": [facts for pid in self.pane.processes() if (facts := self._process(pid))],
        }
        with suppress(ValueError):
            seen |= self._transcript(name, self._newest())
        self.stages[name] = seen
        with (self.out / "hooks.jsonl").open("a") as log:
            for record in self.lab.hooks(self._hooks):
                self._hooks += 1
                print(self.neutral(json.dumps({"stage": name, **record})), file=log)

    def _newest(self) -> Path:
        """Of this session: gemini writes to an old one, too, when it starts."""
        files = list(self.lab.home.glob(self.agent.transcripts))
        try:
            own = [file for file in files if self.session_id()[:8] in file.name]
        except Overdue:
            own = []
        return max(own or files, key=lambda file: file.stat().st_mtime)

    def _transcript(self, stage: str, file: Path) -> dict[str, object]:
        """A log only grows: one copy of it and a number of lines tell what it was at any stage."""
        if file.suffix == ".db":
            rows, name = database_rows(file), f"{stage}.rows.jsonl"
        else:
            rows, name = file.read_text().splitlines(), file.name
        self._write(name, "".join(shorten(row) + "\n" for row in rows))
        return {"transcript": self.neutral(str(file)), "copy": name, "lines": len(rows)}

    def finish(self) -> None:
        text = json.dumps(self.stages, indent=1)
        self._write("stages.json", text + "\n")

    def neutral(self, text: str) -> str:
        """Machine paths as they would be for a user who installed the agent with npm."""
        cache = re.escape(str(install.cache_dir()))
        dashed = str(self.lab.home).replace("/", "-").lstrip("-")
        text = re.sub(rf"{cache}/[^/]+/node_modules/(\.bin|node/bin)/", "/usr/local/bin/", text)
        text = re.sub(rf"{cache}/[^/]+/node_modules/", "/usr/local/lib/node_modules/", text)
        text = text.replace(dashed, "home-user").replace(str(self.lab.home), "/home/user")
        text = text.replace(str(self.lab.socket), "/tmp/tmux-1000/default").replace(
            str(self.lab.work), "/home/user"
        )
        text = text.replace(str(HERE / "hooks"), "/usr/local/lib/record")
        # Screens cut it off anywhere.
        return re.sub(rf"{re.escape(str(HERE)[:6])}[\w/.-]*", "/usr/local/lib/record", text)

    def session_id(self) -> str:
        for record in reversed(self.lab.hooks()):
            payload = record["payload"]
            assert isinstance(payload, dict)
            properties = payload.get("properties") or {}
            if found := payload.get("session_id") or payload.get("sessionID") or properties.get("sessionID"):
                return str(found)
        raise Overdue("no hook named a session")

    def do(self, prompt: str) -> None:
        """One turn, to its end."""
        mark = len(self.lab.hooks())
        self.pane.submit(prompt)
        self.wait_hook(mark, SETTLED[self.agent.key])

    def wait_hook(self, mark: int, event: str, seconds: float = 40) -> None:
        until(lambda: [r for r in self.lab.hooks(mark) if r["event"] == event], seconds, f"hook {event}")

    def begin_tool(self, seconds: int) -> None:
        self.pane.submit(f"work MOCK:sleep={seconds}")
        until(lambda: self._tools(seconds), 40, "the tool runs")

    def _tools(self, seconds: int) -> list[int]:
        return [pid for pid in self.pane.processes() if arguments(pid)[:2] == ["sleep", str(seconds)]]

    def kill(self) -> None:
        for pid in [self.pane.processes()[0], *self.pane.processes()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _process(self, pid: int) -> dict[str, object] | None:
        proc = Path(f"/proc/{pid}")
        try:
            raw = (proc / "environ").read_bytes().decode(errors="replace")
            environ = dict(pair.partition("=")[::2] for pair in raw.split("\0") if "=" in pair)
            files = sorted(open_files(proc))
            maps = {
                line.split(maxsplit=5)[5] for line in (proc / "maps").read_text().splitlines() if "/" in line
            }
            stat = (proc / "stat").read_text().rpartition(")")[2].split()
            return {
                "pid": pid, "ppid": int(stat[1]), "pgrp": int(stat[2]), "session": int(stat[3]),
                "tty": int(stat[4]), "start_ticks": int(stat[19]),
                "exe": os.readlink(proc / "exe"), "comm": (proc / "comm").read_text().strip(),
                "argv": arguments(pid), "cwd": os.readlink(proc / "cwd"), "environ_keys": sorted(environ),
                "environ": {key: value for key, value in sorted(environ.items()) if key.startswith(TELLING)},
                "files": [file for file in files if file.startswith("/") and not file.startswith("/dev/")],
                "maps": sorted(name for name in maps if not re.search(r"\.so|^/(dev|usr/lib)/", name)),
            }  # fmt: skip
        except OSError:
            return None

    def _locks(self) -> list[str]:
        """Lines of /proc/locks held by its processes, with the name of the file behind the inode."""
        pids = {str(pid) for pid in self.pane.processes()}
        names = {str(file.stat().st_ino): str(file) for file in self.lab.home.rglob("*") if file.is_file()}
        held = []
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[-4] in pids and fields[1] == "FLOCK":
                held.append(f"{line} {names.get(fields[-3].split(':')[2], '?')}")
        return held

    def _write(self, name: str, text: str) -> None:
        (self.out / name).write_text(self.neutral(text))


def open_files(proc: Path) -> set[str]:
    files = set()
    for link in (proc / "fd").iterdir():
        with suppress(OSError):
            files.add(os.readlink(link))
    return files


def arguments(pid: int) -> list[str]:
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").removesuffix("\0").split("\0")
        )
    except OSError:
        return []


def database_rows(file: Path) -> list[str]:
    rows = []
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        known = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        for table in TABLES:
            if table in known:
                found = database.execute(f"SELECT * FROM {table}").fetchall()[-8:]
                rows += [json.dumps({"table": table, **dict(row)}) for row in found]
    return rows


def shorten(line: str) -> str:
    """A line as it is, unless a text in it is long: JSON again with that one cut."""
    if len(line) <= LONGEST:
        return line
    try:
        return json.dumps(cut(json.loads(line)), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        return line


def cut(value: object) -> object:
    match value:
        case str() if len(value) > LONGEST and not value.startswith("{"):
            return value[:80] + "…"
        case list():
            return [cut(item) for item in value[:30]]
        case dict():
            return {key: cut(item) for key, item in value.items()}
        case _:
            return value


def live(recorder: Recorder) -> None:
    pane, agent = recorder.pane, recorder.agent
    recorder.stage("fresh")
    recorder.do("hello there")
    recorder.stage("idle")

    mark = len(recorder.lab.hooks())
    pane.submit("tell me MOCK:slow=6")
    settle(3)
    recorder.stage("streaming")
    recorder.wait_hook(mark, SETTLED[agent.key])

    mark = len(recorder.lab.hooks())
    recorder.begin_tool(9)
    recorder.stage("tool")
    recorder.wait_hook(mark, SETTLED[agent.key])
    recorder.stage("idle-after-tool")

    recorder.pane.type("a draft that is not sent")
    recorder.stage("draft")
    pane.press(*["BSpace"] * 24)

    if agent.key == "pi":
        pane.submit("/ask")
        settle(2)
        recorder.stage("dialog")
        pane.press("Escape")
        settle(1)

    recorder.begin_tool(61)
    pane.submit("queued while it works")
    settle(1)
    recorder.stage("queued")
    interrupt(recorder)
    recorder.stage("interrupted-queued")
    pane.press(*["BSpace"] * 30)

    recorder.begin_tool(62)
    interrupt(recorder)
    recorder.stage("interrupted")


def settle(seconds: float) -> None:
    """For what nothing announces. Captures may wait; tests may not."""
    time.sleep(seconds)


def interrupt(recorder: Recorder) -> None:
    """Escape; gemini and opencode want it twice. What was queued some start by themselves then."""
    twice = recorder.agent.key in ("opencode", "gemini")
    for _ in range(1 + twice):
        recorder.pane.press("Escape")
        settle(0.4)
    settle(4)


def compact(recorder: Recorder) -> None:
    recorder.pane.submit("/compress" if recorder.agent.key == "gemini" else "/compact")
    settle(12)
    recorder.stage("compacted")


def ask(recorder: Recorder) -> None:
    """A tool call that wants approval, given after a while."""
    if recorder.agent.asking is None:
        return
    leave(recorder, "left")
    recorder.pane = recorder.lab.start(recorder.agent, *recorder.agent.asking)
    recorder.pane.submit(recorder.agent.ask)
    recorder.pane.wait_for(r"Would you like to run|Permission required|Allow execution", 40)
    settle(1)
    recorder.stage("asking")
    mark = len(recorder.lab.hooks())
    recorder.pane.press("Enter")
    recorder.wait_hook(mark, SETTLED[recorder.agent.key])
    recorder.stage("answered")
    leave(recorder, "left-unasked")
    recorder.pane = recorder.lab.start(recorder.agent)
    recorder.do("hello again")


def kill_and_resume(recorder: Recorder) -> None:
    recorder.begin_tool(25)  # gemini starts it again when it is resumed
    session = recorder.session_id()
    recorder.kill()
    until(lambda: not recorder.pane.processes(), 10, "killed")
    recorder.stage("killed")
    args = [word.format(id=session) for word in recorder.agent.resume]
    recorder.pane = recorder.lab.start(recorder.agent, *args)
    with suppress(Overdue):
        recorder.pane.wait_for("work MOCK", 6)
    recorder.stage("resumed")
    settle(4)  # gemini still loads then
    recorder.do("again")
    recorder.stage("idle-after-resume")


def leave(recorder: Recorder, name: str) -> None:
    for key in recorder.agent.quit:
        recorder.pane.press(key)
        settle(0.3)
    until(lambda: not recorder.pane.processes(), 10, "quit")
    recorder.stage(name)


def delegate(recorder: Recorder) -> None:
    """A subagent that runs a tool of its own."""
    task = DELEGATED.get(recorder.agent.key)
    if task is None:
        return
    mark = len(recorder.lab.hooks())
    recorder.pane.submit(f"please MOCK:call={task}")
    with suppress(Overdue):
        until(lambda: recorder._tools(7), 20, "the subagent's tool runs")
    recorder.stage("subagent")
    recorder.wait_hook(mark, SETTLED[recorder.agent.key])
    settle(10)
    recorder.stage("idle-after-subagent")


STEPS: tuple[Callable[[Recorder], None], ...] = (live, compact, ask, delegate, kill_and_resume)


def main() -> int:
    parser = argparse.ArgumentParser(description="Captures what one real agent shows through its life.")
    parser.add_argument("agent", choices=sorted(AGENTS))
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    failed = 0
    with tempfile.TemporaryDirectory() as work, Lab(Path(work) / "lab", records=True) as lab:
        recorder = Recorder(lab, AGENTS[given.agent], given.out)
        for step in STEPS:
            try:
                step(recorder)
            except Overdue as overdue:
                print(f"{step.__name__}: {overdue}", file=sys.stderr)
                failed = 1
        leave(recorder, "left")
        recorder.finish()
    return failed


if __name__ == "__main__":
    sys.exit(main())
