"""A real agent of an ordinary user, on a machine where musterd is installed as a distribution ships it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.daemon import CALM, EAGER, MEMINFO, PRESSED
from helpers.desktop import CONFIG, MENU, Shown, parse_shown
from helpers.machine import Machine
from helpers.programs import until
from real import install
from real.agents import AGENTS, HOOK_PATIENCE, Home, be_patient, configure_pi

pytestmark = pytest.mark.real

USER = "emma"
HOME = Path("/home", USER)
PI = AGENTS["pi"]
PATIENCE = 480.0  # seconds, on a busy machine: it judges anew after each look that was late

# A notice whose time is over is not shown: a busy machine needs more of it.
UNHURRIED = ('grace = "1s"', 'grace = "10s"')

AGENT_CACHE = "/opt/agents"
PRESSURE = "/var/cache/pressure"
DROP_IN = "/etc/musterd/musterd.toml.d/eager.toml"


class Desk:
    """Where the user sits: a terminal, a screen, a notification service; all below the user's systemd."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def run(self, *command: str) -> str:
        return self._machine.run(*command, user=USER).stdout

    def start(self, unit: str, *command: str, **options: str) -> None:
        """`options`: properties of the unit; those that are written small are variables."""
        given = [
            f"--setenv={name}={value}" if name.isupper() else f"--property={name}={value}"
            for name, value in options.items()
        ]
        self.run("systemd-run", "--user", "--quiet", "--collect", f"--unit={unit}", *given, "--", *command)

    def press(self, *keys: str) -> None:
        self.run("tmux", "send-keys", "-t", "main", *keys)

    def submit(self, text: str) -> None:
        self.press("-l", text)
        self.wait_for(re.escape(text[-20:]))
        self.press("Enter")

    def screen(self) -> str:
        return self.run("tmux", "capture-pane", "-p", "-t", "main")

    def wait_for(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.screen()), f"{pattern!r} on the screen", PATIENCE)

    def shown(self) -> list[Shown]:
        text = (self._machine.root / HOME.relative_to("/") / "shown").read_text()
        return [parse_shown(block) for block in re.split(r"^}\n", text, flags=re.MULTILINE)[:-1]]

    def wait_for_shown(self, summary: str) -> Shown:
        def look() -> Shown | None:
            return next((shown for shown in self.shown() if re.search(summary, shown.summary)), None)

        return until(look, f"{summary!r} on the desktop", PATIENCE)

    def click(self, label: str) -> None:
        """Choose it from the menu that the notification service makes of all actions."""
        self._machine.write(f"{HOME}/choice", f"#{label} (")
        self.run("dunstctl", "context")


@pytest.fixture
def pressed_machine(musterd: Machine) -> Iterator[Machine]:
    """It judges within seconds, by a pressure that a test sets."""
    musterd.write(f"{PRESSURE}/pressure", CALM)
    musterd.write(f"{PRESSURE}/meminfo", MEMINFO)
    musterd.write(DROP_IN, EAGER.format(work=PRESSURE).replace(*UNHURRIED))
    musterd.run("systemctl", "restart", "musterd.service")
    yield musterd
    musterd.run("rm", DROP_IN)
    musterd.run("rm", "-r", PRESSURE)


@pytest.fixture
def desk(pressed_machine: Machine) -> Desk:
    """With a desktop that shows notifications, and a terminal in which pi finds a model."""
    machine, desk = pressed_machine, Desk(pressed_machine)
    machine.add_user(USER)
    configure(machine, start_model(machine))
    desk.start("screen", "Xvfb", ":9", "-screen", "0", "640x480x24", "-nolisten", "tcp")
    until(lambda: (machine.root / "tmp/.X11-unix/X9").exists(), "a screen", PATIENCE)
    shown = f"file:{HOME}/shown"
    desk.start(
        "notifications", "dunst", "-print", "-conf", f"{HOME}/dunstrc", DISPLAY=":9", StandardOutput=shown
    )
    has_service = ("busctl", "--user", "status", "org.freedesktop.Notifications")
    until(lambda: machine.run(*has_service, user=USER, check=False).status == 0, "dunst", PATIENCE)
    desk.run("systemctl", "--user", "start", "musterd-notify.service")
    said = ("journalctl", "--output=cat", "_SYSTEMD_USER_UNIT=musterd-notify.service")
    until(lambda: "Telling of what musterd" in machine.run(*said).stdout, "musterd-notify", PATIENCE)
    desk.run("musterctl", "hooks", "install", "pi")
    be_patient(machine.root / HOME.relative_to("/"), "pi")
    path = ":".join([*(f"{AGENT_CACHE}/{key}/node_modules/.bin" for key in ("node", "pi")), "/usr/bin:/bin"])
    tmux = (
        "tmux",
        "-u",
        "new-session",
        "-d",
        "-s",
        "main",
        "-x",
        "110",
        "-y",
        "36",
        "-c",
        f"{HOME}/project",
    )
    desk.start(
        "terminal", *tmux, "bash", "--norc", Type="forking", PATH=path, PI_OFFLINE="1",
        MUSTERD_HOOK_TIMEOUT=f"{HOOK_PATIENCE}",
    )  # fmt: skip
    return desk


def start_model(machine: Machine) -> str:
    """On loopback, the only network there is -> its address."""
    machine.run("mkdir", "--parents", "/opt/model", AGENT_CACHE)
    machine.run("mount", "--bind", str(install.cache_dir()), AGENT_CACHE)
    shutil.copy(Path(install.__file__).with_name("model.py"), machine.root / "opt/model")
    model = ("python3", "/opt/model/model.py", "/opt/model/port", "/opt/model/log")
    machine.run("systemd-run", "--quiet", "--unit=model", *model)
    port = machine.root / "opt/model/port"
    return f"http://127.0.0.1:{until(lambda: port.exists() and port.read_text(), 'a model', PATIENCE)}"


def configure(machine: Machine, url: str) -> None:
    home = machine.root / HOME.relative_to("/")
    configure_pi(Home(home, HOME / "project", url, records=None))
    (home / "project").mkdir()
    (home / "menu").write_text(MENU.format(choice=HOME / "choice"))
    (home / "menu").chmod(0o755)
    (home / "dunstrc").write_text(CONFIG.format(menu=HOME / "menu", markup="full"))
    machine.run("chown", "--recursive", USER, str(HOME))


def press(machine: Machine, *, pressed: bool) -> None:
    machine.write(f"{PRESSURE}/new", PRESSED if pressed else CALM)
    machine.run("mv", f"{PRESSURE}/new", f"{PRESSURE}/pressure")


def the_session(machine: Machine, **wanted: object) -> dict[str, Any] | None:
    """The one that there is, if it is like that."""
    (rows,) = machine.call("ListSessions", user=USER)
    if not rows:
        return None
    names = ("Id", "State", "Leader", "Terminal", "AgentSessionId", "EndedReason")
    found = {name: machine.get(f"Session.{name}", user=USER, path=rows[0][-1]) for name in names}
    return found if all(found[name] == value for name, value in wanted.items()) else None


def test_pi_idles_is_reaped_with_notice_and_comes_back_by_a_click(
    pressed_machine: Machine, desk: Desk
) -> None:
    machine = pressed_machine
    desk.submit("pi")
    desk.wait_for(PI.ready)
    session = until(lambda: the_session(machine), "it is on the roll", PATIENCE)
    desk.submit("remember the word marmalade")
    desk.wait_for("MOCK-REPLY")
    before = until(lambda: the_session(machine, State="idle"), "it is idle", PATIENCE)
    machine.call("Reaper.SetMode", "ss", "on", "a test")
    press(machine, pressed=True)
    notice = desk.wait_for_shown("will be ended in")
    assert "Keep" in notice.actions.values()
    ended = desk.wait_for_shown("was ended")
    press(machine, pressed=False)
    assert "Resume" in ended.actions.values()
    assert the_session(machine) is None
    until(lambda: not (machine.root / f"proc/{before['Leader']}").exists(), "its shell knows", PATIENCE)

    desk.press("C-l")
    until(lambda: "marmalade" not in desk.screen(), "its shell has cleared the screen", PATIENCE)
    desk.click("Resume")
    again = until(lambda: the_session(machine, Id=session["Id"]), "it is back on the roll", PATIENCE)
    desk.wait_for("marmalade")
    assert again["Terminal"] == before["Terminal"]
    until(
        lambda: the_session(machine, AgentSessionId=before["AgentSessionId"]), "its conversation", PATIENCE
    )
