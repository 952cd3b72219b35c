"""A stage for scenarios: the real daemon, a real tmux server, and stand-in agents in its panes."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from helpers.daemon import DAEMON, EAGER, Daemon
from helpers.moved_clock import Moves
from helpers.private_bus import DBusDaemon
from helpers.programs import PATIENCE, end_all_in, until
from helpers.standin import install_codex, install_command
from helpers.tmux import TmuxServer
from musterd.core.state import format_modes, parse_modes
from musterd.host.process import boot_id
from musterd.host.statedir import StateDir
from musterd.host.table import Table

GRACE = 0.4  # seconds between two looks

Gates = dict[str, tuple[str, str]]


class Pane:
    """An agent in a pane, and what musterd thinks of it."""

    def __init__(self, stage: "Stage", pane: str, project: Path) -> None:
        self.stage = stage
        self.pane = pane
        self.project = project
        self.id = until(self._find, f"'{project.name}' is on the roll", PATIENCE)

    def _find(self) -> str:
        return next((s["Id"] for s in self.stage.daemon.sessions() if s["CWD"] == str(self.project)), "")

    @property
    def leader(self) -> int:
        return int(self.stage.daemon.session(self.id)["Leader"])

    @property
    def state(self) -> str:
        return str(self.stage.daemon.session(self.id)["State"])

    def say(self, *lines: str) -> Self:
        for line in lines:
            self.stage.tmux.run("send-keys", "-t", self.pane, "-l", line)
            self.stage.tmux.run("send-keys", "-t", self.pane, "Enter")
        return self

    def is_typed_at(self, line: str = "") -> None:
        """By somebody who sits at a terminal that is attached to it."""
        client = self.stage.tmux.attach()
        self.stage.tmux.run("select-window", "-t", self.pane)
        os.write(client, f"{line}\n".encode())

    def go_on(self, name: str) -> None:
        """What lasts until `@name` is over."""
        (self.project / name).touch()

    def end_and_resume(self) -> Self:
        """By order; it is another process then, in another pane."""
        daemon = self.stage.daemon
        daemon.call("TerminateSession", "ss", self.id, "")
        daemon.call("ResumeSession", "s", self.id)
        self.pane = str(daemon.session(self.id)["Terminal"]).rpartition(":")[2]
        self.stage.adopt(self.pane)
        return self

    def turn(self, line: str = "think") -> Self:
        """Takes a turn, to its end. Screen and daemon may still show that of the one before."""
        before = self._rest()
        self.say(line)
        until(lambda: f"Done: {line}" in self.screen(), f"'{line}' is done", PATIENCE)

        def rests_anew() -> bool:
            state, _ = rest = self._rest()
            return state in ("idle", "waiting") and rest != before

        until(rests_anew, "its turn is seen to have ended", PATIENCE)
        return self

    def _rest(self) -> tuple[str, int]:
        """Its state, and since when it is idle."""
        session = self.stage.daemon.session(self.id)
        return session["State"], session["IdleSinceUSec"]

    def busy(self, line: str) -> Self:
        """Begins a turn."""
        self.say(line)
        until(lambda: self.state in ("busy", "waiting"), "its turn is seen", PATIENCE)
        return self

    def screen(self) -> str:
        return self.stage.tmux.run("capture-pane", "-p", "-t", self.pane)

    def child(self, word: str) -> int:
        """The pid of a program below it."""
        return until(lambda: self.has_child(word), f"'{word}' runs", PATIENCE)

    def has_child(self, word: str) -> int:
        rows = Table.read().descendants(self.leader)
        return next((row.pid for row in rows if row.comm == word), 0)

    def explain(self) -> tuple[str, str, Gates]:
        return self.stage.daemon.explain(self.id)

    def is_kept_by(self, gate: str) -> None:
        """For four graces: by this gate, whatever the others say; never eligible for a moment."""
        self.is_never_eligible()
        until(lambda: self.explain()[2][gate][0] != "pass", f"{gate} keeps it")

    def is_never_eligible(self) -> None:
        end = time.monotonic() + 4 * GRACE
        until(lambda: self._is_kept() and time.monotonic() > end, "four graces have passed")

    def _is_kept(self) -> bool:
        verdict, _, gates = self.explain()
        passed = [f"{name}: {evidence}" for name, (_, evidence) in gates.items()]
        assert verdict == "keep", f"wrong end of '{self.project.name}':\n" + "\n".join(passed)
        return True

    def becomes_eligible(self) -> None:
        explained: tuple[str, str, Gates] = ("", "", {})

        def is_eligible() -> bool:
            nonlocal explained
            explained = self.explain()
            return explained[0] in ("eligible", "reap")

        with suppress(AssertionError):
            until(is_eligible, "it is eligible", 2 * PATIENCE)
            return
        held = {name: told for name, told in explained[2].items() if told[0] != "pass"}
        raise AssertionError(f"'{self.project.name}' never became eligible: {held}")


class MovedDaemon(Daemon):
    """Its clocks, and those of the agents, are moved by `Stage.moves`."""

    @property
    def command(self) -> list[str]:
        python, _, _, *args = super().command
        return [python, "-m", "helpers.moved_clock", str(self.work / "moves"), *args]


class Stage:
    def __init__(self, work: Path, daemon: Daemon, tmux: TmuxServer, stack: ExitStack) -> None:
        self.work, self.daemon, self.tmux, self._stack = work, daemon, tmux, stack
        self.moves = Moves(work / "moves")
        self.command = install_codex(work / "agent")
        self.bin = install_command(work, self.command)
        self.newer = install_codex(work / "newer", "0.999.0")
        self.hook = f"{sys.executable} -m musterd.ctl hook codex"
        self._panes = 0
        self._running: list[int] = []

    def project(self, name: str) -> Path:
        self._panes += 1
        project = self.daemon.home / f"{name}-{self._panes}"
        project.mkdir()
        return project

    def agent(
        self,
        name: str,
        *,
        hooks: bool = False,
        command: list[str] | None = None,
        beside: str = "",
        **env: str,
    ) -> Pane:
        """A stand-in in a new window, or in a split of the pane `beside`; once it is on the roll."""
        project = self.project(name)
        env = {"HOME": str(self.daemon.home), "PATH": os.environ["PATH"], **env}
        if isinstance(self.daemon, MovedDaemon):
            env["STANDIN_CLOCK"] = str(self.moves.path)
        if hooks:
            env["STANDIN_HOOK"] = (
                f"env -u PYTHONHOME PYTHONPATH={DAEMON} MUSTERD_BUS={self.daemon.bus.address}"
                f" MUSTERD_HOOK_TIMEOUT={PATIENCE:g} {self.hook}"
            )
        words = ["env", *(f"{key}={value}" for key, value in env.items()), *(command or self.command)]
        how = ["split-window", "-t", beside] if beside else ["new-window", "-t", "main"]
        pane = self.tmux.run(*how, "-d", "-P", "-F", "#{pane_id}", "-c", str(project), shlex.join(words))
        self.adopt(pane)
        return Pane(self, pane, project)

    def adopt(self, pane: str) -> None:
        """What runs there ends with the scenario."""
        self._running.append(int(self.tmux.about(pane, "pane_pid")))

    def typed_agent(self, name: str) -> Pane:
        """One that can be resumed: it was started by a command that is found."""
        return self.agent(name, command=["codex"], PATH=f"{self.bin}:{os.environ['PATH']}")

    @contextmanager
    def calm(self) -> Iterator[None]:
        """The daemon looks at nothing by itself: only who asks has it look."""
        self.daemon.press(pressed=False)
        try:
            until(lambda: self.daemon.get("Reaper.Tier") == "normal", "pressure is gone", PATIENCE)
            yield
        finally:
            self.daemon.press()

    def set_clock_while_away(self, seconds: int, meanwhile: Callable[[], object] = str) -> None:
        """Restart the daemon; the mark that it finds says that the clock was different before.

        The clock itself is the whole machine's: no test sets it.
        """
        self.daemon.stop()
        meanwhile()
        modes = parse_modes((self.daemon.state / "mode.toml").read_text())
        assert modes.clock.boot_id == boot_id()
        mark = replace(modes.clock, offset=modes.clock.offset - seconds * 1_000_000)
        self.write_state("mode.toml", format_modes(replace(modes, clock=mark)))
        self.daemon.start()

    def write_state(self, name: str, text: str) -> None:
        """While the daemon is away, as it would."""
        path = self.daemon.state / name
        with closing(StateDir.open(str(path.parent))) as directory:
            directory.replace(path.name, text)

    def clear(self) -> None:
        """End all agents, with all below them and all that they left in their directories."""
        table = Table.read()
        panes, self._running = self._running, []
        for pane in panes:
            for row in table.descendants(pane):
                kill(row.pid)
            kill(pane)
        end_all_in(self.daemon.home)

    def musterctl(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "helpers.patient_ctl", *args]


@contextmanager
def stage(work: Path, more: str = "", kind: type[Daemon] = Daemon, **options: str) -> Iterator[Stage]:
    """`options` are keys of [reaper] with other values than the eager ones; `more` is more of it."""
    text = EAGER.format(work=work).replace('grace = "1s"', f'grace = "{GRACE * 1000:.0f}ms"')
    for key, value in options.items():
        name = key.replace("_", "-")
        text = "\n".join(
            f"{name} = {value}" if line.startswith(f"{name} =") else line for line in text.splitlines()
        )
    with ExitStack() as stack:
        bus = stack.enter_context(DBusDaemon(work / "bus"))
        daemon = stack.enter_context(kind(work, bus, f"{text}\n{more}"))
        tmux = stack.enter_context(TmuxServer(work))
        daemon.press()
        yield Stage(work, daemon, tmux, stack)


def kill(pid: int) -> None:
    assert pid > 1
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
