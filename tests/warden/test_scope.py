"""A scope of its own: all in it is of the session."""

from dataclasses import replace
from pathlib import Path

from helpers.programs import until
from helpers.scribe import Scene, scene
from helpers.tmux import TmuxServer
from musterd.core.evidence import Observation, Unknown
from musterd.core.session import Session
from musterd.host.process import read_stat
from musterd.host.table import Table


def children(look: Observation) -> list[int]:
    assert not isinstance(look.children, Unknown)
    return [child.process.pid for child in look.children]


async def with_stray(here: Scene, scope: Path) -> tuple[Session, int]:
    """A session in this scope, and the pid of what left its tree and its environment."""
    stray = "env -i setsid sh -c 'echo $$; exec sleep 60'"
    pid = here.start(f"echo $$ >{scope}/cgroup.procs; ({stray} &); read line")
    left = here.programs.adopt(int(here.programs.read_line(pid)))
    until(lambda: read_stat(left).comm == "sleep" and not Table.read().descendants(pid), "it left")
    return await here.session(pid), left


async def test_what_left_its_tree_and_its_environment_is_seen(tmp_path: Path, scope: Path) -> None:
    async with scene(tmp_path) as here:
        session, left = await with_stray(here, scope)
        assert session.scope == scope.name
        look = await here.look(session)
        assert children(look) == [left]
        assert look.usage.tasks == 2


async def test_it_is_none_of_a_session_that_has_no_scope_for_itself(tmp_path: Path, scope: Path) -> None:
    """An agent that another one started is in that one's scope."""
    async with scene(tmp_path) as here:
        session, _ = await with_stray(here, scope)
        session = replace(session, scope="")
        await here.warden.watch(session)
        assert children(await here.look(session)) == []


async def test_what_runs_beside_a_shell_of_its_user_is_not(tmp_path: Path, scope: Path) -> None:
    """It was started by hand in the scope, as whatever else is there."""
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            script = (
                f"echo $$ >{scope}/cgroup.procs; sleep 60 & {here.scribe} -c 'echo READY; read line; :'; :"
            )
            pane = server.pane("sh", "-c", script)
            until(lambda: "READY" in server.run("capture-pane", "-p", "-t", pane), "it runs")
            below = Table.read().descendants(int(server.about(pane, "pane_pid")))
            session = await here.session(next(row.pid for row in below if row.comm == "scribe"))
            here.programs.adopt(next(row.pid for row in below if row.comm != "scribe"))
            assert session.scope == scope.name
            assert children(await here.look(session)) == []
