"""What a session has not finished: its children, its files, and what the operator's check says."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.programs import PATIENCE, until
from helpers.repository import Repository
from helpers.scribe import Scene, scene
from helpers.wait import until as loop_until
from musterd.core.evidence import Work
from musterd.core.session import Session
from musterd.host.process import read_stat
from musterd.host.table import Table
from musterd.warden import work as module

CONTENT = ["true"]

DEADLINE = 15  # seconds for what never ends; all beside it has an answer by then, even on a busy machine


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def running_below(pid: int) -> list[str]:
    return sorted(row.comm for row in Table.read().descendants(pid))


async def at_rest(here: Scene) -> Session:
    return replace(await here.session(here.start()), cwd=str(here.home), agent_session_id="their-1")


async def test_where_all_is_done_there_is_no_work(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        assert await here.warden.work(await at_rest(here), CONTENT, PATIENCE) == Work()


async def test_uncommitted_files_are_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        repository = Repository(tmp_path / "project")
        session = replace(await at_rest(here), cwd=str(repository.path))
        assert await here.warden.work(session, (), PATIENCE) == Work(uncommitted=0)
        repository.write("new", "")
        assert await here.warden.work(session, (), PATIENCE) == Work(uncommitted=1)


async def test_children_at_work_are_told_and_helpers_are_not(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("exec 3<&0; cat <&3 & setsid sh -c 'echo $$; exec sleep 60' & wait")
        tool = here.programs.adopt(int(here.programs.read_line(pid)))
        until(lambda: read_stat(tool).comm == "sleep", "it runs")
        until(lambda: running_below(pid) == ["cat", "sleep"], "both run")
        session = replace(await here.session(pid), cwd=str(tmp_path))
        assert await here.warden.work(session, (), PATIENCE) == Work(children=("sleep",))


async def test_furniture_of_an_agent_is_no_work(tmp_path: Path) -> None:
    """It was there before the first turn of a session that was watched from its start."""
    async with scene(tmp_path) as here:
        pid = here.start("sleep 60 & wait")
        until(lambda: running_below(pid) == ["sleep"], "it runs")
        session = replace(await here.session(pid), cwd=str(tmp_path))
        assert (await here.warden.work(session, (), PATIENCE)).children == ("sleep",)
        watched = replace(
            session, created_usec=session.started_usec + 1, turn=replace(session.turn, first=2**60)
        )
        assert (await here.warden.work(watched, (), PATIENCE)).children == ()


@pytest.mark.parametrize(
    "asking",
    [
        "musterd-hook codex Stop",
        "musterctl --bus x:y=z hook codex Stop",
        "busctl call org.musterd.Muster1 /org x",
    ],
)
async def test_who_comes_to_ask_is_no_work_nor_are_hooks_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asking: str
) -> None:
    monkeypatch.setattr(module, "_TOGETHER", PATIENCE * 100)  # ticks: a busy machine starts them slowly
    name, *words = asking.split()
    hook = tmp_path / name
    hook.write_text("#!/bin/sh\nsleep 60\n")
    hook.chmod(0o755)
    async with scene(tmp_path) as here:
        beside = f"sh -c 'sleep 61; :' & sh -c '{hook} {' '.join(words)}; :' & echo; wait"
        pid = here.start(f"read go; {beside}")
        session = replace(await here.session(pid), cwd=str(tmp_path))
        here.programs.write_line(pid, "")
        here.programs.read_line(pid)
        until(lambda: len(Table.read().descendants(pid)) == 5, "all run")
        assert await here.warden.work(session, (), PATIENCE) == Work()


async def test_a_shell_that_is_slow_to_run_the_hook_is_no_work(tmp_path: Path) -> None:
    hook = tmp_path / "musterd-hook"
    hook.write_text("#!/bin/sh\nsleep 60\n")
    hook.chmod(0o755)
    async with scene(tmp_path) as here:
        runs = f"sh -c \"'{hook}' gemini AfterAgent || echo '{{}}'\""
        pid = here.start(f"exec 3<&0; (read go <&3; exec {runs}) & wait")
        until(lambda: len(running_below(pid)) == 1, "it is started")
        session = replace(await here.session(pid), cwd=str(tmp_path))
        await asyncio.sleep(0.3)  # a busy machine
        here.programs.write_line(pid, "")
        until(lambda: running_below(pid) == ["musterd-hook", "sh", "sleep"], "all run")
        assert await here.warden.work(session, (), PATIENCE) == Work()


async def test_work_begun_before_the_hook_is_told(tmp_path: Path) -> None:
    hook = tmp_path / "musterd-hook"
    hook.write_text("#!/bin/sh\nsleep 60\n")
    hook.chmod(0o755)
    async with scene(tmp_path) as here:
        pid = here.start(f"sleep 60 & read go; {hook} codex Stop & echo; wait")
        until(lambda: running_below(pid) == ["sleep"], "it runs")
        session = replace(await here.session(pid), cwd=str(tmp_path))
        await asyncio.sleep(0.3)  # an agent thinks for longer
        here.programs.write_line(pid, "")
        here.programs.read_line(pid)
        until(lambda: running_below(pid) == ["musterd-hook", "sleep", "sleep"], "all run")
        assert await here.warden.work(session, (), PATIENCE) == Work(children=("sleep",))


async def test_of_a_session_that_is_not_watched_no_children_are_known(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session = await at_rest(here)
        here.warden.unwatch(session.id)
        assert await here.warden.work(session, (), PATIENCE) == Work(unknown=("it is not watched",))


# The operator's check


def has_ended(pid: int) -> bool:
    rows = Table.read().rows
    return pid not in rows or rows[pid].has_ended


@pytest.mark.parametrize(
    ("script", "check"),
    [
        ("exit 0", ""),
        ("echo fine", ""),
        ("echo 'two tests fail'; exit 1", "two tests fail"),
        ("printf 'a\\n\\n  b\\n'; echo aside >&2; exit 1", "a; b"),
        ("printf 'red \\033[31m\\a'; exit 1", "red \\x1b[31m\\x07"),
        ("printf '\\377'; exit 1", "\ufffd"),
        ("exit 1", "the operator's check holds it, and says no more"),
        ("sleep 60 & echo 'at once'; exit 1", "at once"),
    ],
)
async def test_the_check_decides_by_its_exit_status(tmp_path: Path, script: str, check: str) -> None:
    async with scene(tmp_path) as here:
        assert await here.warden.work(await at_rest(here), shell(script), PATIENCE) == Work(check=check)


async def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        work = await here.warden.work(await at_rest(here), shell("seq 20000; exit 1"), PATIENCE)
        assert work.check.startswith("1; 2; 3; ")
        assert 3000 < len(work.check) <= 4096


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (shell("exit 2"), "ended with status 2"),
        (shell("kill -9 $$"), "ended with status -9"),
        (["yes"], "more than 1048576 bytes"),
        (["/nonexistent/check"], "ended with status 127"),
        (["/"], "ended with status 126"),
        (["A=b", "true"], "'A=b' is no name of a program"),
        (["true", "\0"], "cannot be run"),
        (shell("trap '' TERM; sleep 60"), f"the check: no answer within {DEADLINE} s"),
    ],
)
async def test_a_check_that_says_neither_yes_nor_no_is_unknown(
    tmp_path: Path, command: list[str], why: str
) -> None:
    async with scene(tmp_path) as here:
        work = await here.warden.work(
            await at_rest(here), command, DEADLINE if "sleep" in command[-1] else PATIENCE
        )
        assert (work.check, len(work.unknown)) == ("", 1)
        assert why in work.unknown[0]


async def test_a_check_is_told_whom_it_is_about(tmp_path: Path) -> None:
    script = 'pwd; env | grep "MUSTERD\\|SECRET" | grep -v "^MUSTERD_CHECK=" | sort; id -u; exit 1'
    os.environ["SECRET"] = "x"
    try:
        async with scene(tmp_path) as here:
            work = await here.warden.work(await at_rest(here), shell(script), PATIENCE)
    finally:
        del os.environ["SECRET"]
    assert work.check.split("; ") == [
        str(tmp_path),
        "MUSTERD_CHECK_AGENT=pi",
        "MUSTERD_CHECK_AGENT_SESSION=their-1",
        "MUSTERD_CHECK_SESSION=s",
        str(os.getuid()),
    ]


@pytest.mark.parametrize("end", ["exit 1", "sleep 60"])
async def test_all_that_a_check_starts_is_ended_with_it(tmp_path: Path, end: str) -> None:
    """Also what left its group, and its tree, and what holds its output."""
    away = f"(setsid sh -c 'trap \"\" TERM HUP; echo $$ >>{tmp_path}/pids; sleep 60' &)"
    script = f"{away}; sleep 60 & while [ ! -s {tmp_path}/pids ]; do sleep 0.01; done; {end}"
    async with scene(tmp_path) as here:
        seconds = DEADLINE if "sleep" in end else PATIENCE
        await here.warden.work(await at_rest(here), shell(script), seconds)
        pid = int((tmp_path / "pids").read_text())
        until(lambda: has_ended(pid), "it ends", PATIENCE / 2)


async def endless(*_: object) -> int:
    await asyncio.Event().wait()
    return 0


@pytest.mark.parametrize("alone", [True, False])
async def test_what_a_check_starts_is_ended_even_if_nobody_waits_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    """The daemon's own patience may end while the check, which was too slow already, is being ended."""
    if not alone:  # its directory takes long, too
        monkeypatch.setattr(module, "uncommitted", endless)
    pids = tmp_path / "pids"
    script = f"export CHECK=$$; (setsid sh -c 'echo $CHECK $$ >>{pids}; exec sleep 60' &); exec sleep 60"
    async with scene(tmp_path) as here:
        session = await at_rest(here)
        asking = asyncio.create_task(here.warden.work(session, shell(script), 60))
        await loop_until(lambda: pids.exists() and pids.read_text())
        check, away = map(int, pids.read_text().split())
        here.programs.adopt(away)
        asking.cancel()
        await loop_until(lambda: not os.path.exists(f"/proc/{check}"))
        while not asking.done():
            asking.cancel()
            await asyncio.sleep(0)
        until(lambda: has_ended(away), "it ends")


async def test_what_takes_too_long_is_unknown_and_the_rest_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        repository = Repository(tmp_path / "project")
        os.mkfifo(repository.path / "endless")
        repository.git("config", "include.path", str(repository.path / "endless"))
        session = replace(await at_rest(here), cwd=str(repository.path))
        work = await here.warden.work(session, shell("echo no; exit 1"), DEADLINE)
        assert work == Work(check="no", unknown=(f"its directory: no answer within {DEADLINE} s",))
