"""In which order the daemon of the system starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.daemon import ALONE, DAEMON, Daemon
from helpers.private_bus import PrivateBus
from helpers.programs import PATIENCE, until
from musterd import compose, system
from musterd.core.config import Config
from musterd.options import parse_arguments
from musterd.warden.census import Census


async def test_nobody_is_looked_for_before_there_is_a_bus_to_start_wardens_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = list[Census]()

    class Noted(Census):
        async def run(self) -> None:
            taken.append(self)

    monkeypatch.setattr(system, "Census", Noted)
    options = parse_arguments(["--bus", "unix:path=/nonexistent", "--state-dir", str(tmp_path)])
    assert await compose.serve(options, Config()) == 1
    assert taken == []


def test_a_configuration_with_mistakes_is_told_of_until_it_has_none(
    tmp_path: Path, private_bus: PrivateBus
) -> None:
    """Not only where it can be read by who runs doctor."""

    def until_health(*reasons: str) -> None:
        until(lambda: daemon.get("HealthReasons") == list(reasons), str(reasons), PATIENCE)

    def reload(text: str) -> None:
        daemon.config.write_text(text)
        assert daemon.process
        daemon.process.send_signal(signal.SIGHUP)

    unreadable = tmp_path / "musterd.toml.d/of-root.toml"
    unreadable.mkdir(parents=True)  # no file: root could read any
    with Daemon(tmp_path, private_bus) as daemon:
        until_health("the configuration has 1 mistake: what is wrong has its default")
        unreadable.rmdir()
        reload(ALONE)
        until_health()
        reload(f'{ALONE}[reaper]\ngrace = "soon"\nmin-age = "late"\n')
        until_health("the configuration has 2 mistakes: the one before stays in force")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--user"], "the session bus at 'unix:path={home}/bus': No such file or directory; "
                     "'dbus-run-session' starts one, or name another"),
        (["--bus", "unix:path=/nope"], "bus 'unix:path=/nope': No such file or directory; "
                                       "is that the address of one that runs?"),
        (["--bus", "nonsense"], "bus 'nonsense': address did not contain a transport; "
                                "is that the address of one that runs?"),
        (["--bus", "unix:path=/dev/null"], "bus 'unix:path=/dev/null': Connection refused; "
                                           "is that the address of one that runs?"),
    ],
)  # fmt: skip
def test_a_bus_that_is_not_there_is_told_in_a_sentence(args: list[str], said: str, tmp_path: Path) -> None:
    environ = {"PYTHONPATH": str(DAEMON), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "musterd", *args, "--state-dir", str(tmp_path / "state")],
        env=environ, text=True, check=False, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"cannot connect to {said.format(home=tmp_path)}\n"


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["--config", "named.toml"], 1, "named.toml: there is no such file, ignoring\n"),
        (["--user"], 0, ""),
        (["--config", "there.toml"], 0, ""),
    ],
)
def test_a_configuration_that_somebody_named_has_to_be_there(
    args: list[str], status: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "there.toml").touch()
    done = subprocess.run(
        [sys.executable, "-m", "musterd", *args, "--check-config"], cwd=tmp_path, text=True, check=False,
        env={"PYTHONPATH": str(DAEMON), "XDG_CONFIG_HOME": str(tmp_path)}, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)
