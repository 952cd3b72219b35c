"""One daemon and one tmux server for many scenarios; their outcome is told at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .stage import MovedDaemon, Stage, stage


@pytest.fixture(scope="package")
def on_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """It judges at once, whoever is there."""
    protect = 'protect = ["cwd:*/guarded-*", "title:*precious*"]'
    with stage(tmp_path_factory.mktemp("stage"), protect) as made:
        yield made


@pytest.fixture(scope="package")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """It asks for an age, and for a while without key strokes."""
    with stage(tmp_path_factory.mktemp("strict"), min_age='"1h"') as made:
        yield made


@pytest.fixture(scope="package")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """It asks for an age that is soon reached."""
    with stage(tmp_path_factory.mktemp("growing"), min_age='"5s"') as made:
        yield made


@pytest.fixture(scope="package")
def watchful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """It leaves a terminal alone in which somebody typed within the hour."""
    with stage(tmp_path_factory.mktemp("watchful"), recent_user='"1h"') as made:
        yield made


@pytest.fixture(scope="package")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """It keeps uncommitted work."""
    with stage(tmp_path_factory.mktemp("tidy"), 'worktree-policy = "keep"') as made:
        yield made


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Stage]:
    """It waits as it does as shipped; what the clocks of its machine show, the scenario says."""
    shipped = {
        "min_age": "10min",
        "quiet_elevated": "30min",
        "quiet_critical": "10min",
        "recent_user": "15min",
    }
    options = {name: f'"{value}"' for name, value in shipped.items()}
    with stage(tmp_path, kind=MovedDaemon, **options) as made:
        yield made
        made.clear()


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """The stage outlives a scenario; its agents, and all that they started, do not."""
    yield
    for name in ("on_stage", "strict", "growing", "watchful", "tidy"):
        if name in request.fixturenames:
            request.getfixturevalue(name).clear()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = []
    for file, failed in (("test_keep", "wrong ends"), ("test_eligible", "never eligible")):
        outcomes = {
            outcome: sum(
                f"/scenarios/{file}" in report.nodeid
                for report in terminalreporter.stats.get(outcome, [])
                if isinstance(report, pytest.TestReport)
            )
            for outcome in ("passed", "failed")
        }
        if total := sum(outcomes.values()):
            told.append(f"{failed} {outcomes['failed']} of {total}")
    if told:
        terminalreporter.write_line(f"scenarios: {', '.join(told)}")
