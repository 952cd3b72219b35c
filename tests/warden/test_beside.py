"""Further conversations of one process: their records count as its own, and what they say is theirs."""

from dataclasses import replace
from pathlib import Path

from helpers.scribe import Scene, line, scene
from musterd.core.event import EventKind
from musterd.core.evidence import Transcript, Unknown
from musterd.core.session import Session
from musterd.warden_port import Said

# Its own record, and for a while that of another conversation.
SCRIPT = (
    "read line; exec 9>>$HOME/.scribe/other.talk; echo open; read line; exec 9>&-; echo closed; read line"
)


async def started(here: Scene) -> tuple[int, Session]:
    own = here.write("own.jsonl", line(EventKind.SETTLED, 5))
    here.write("other.talk", line(EventKind.WORK, 7))
    pid = here.start(SCRIPT, environ={"HOME": str(here.home)})
    session = replace(await here.session(pid, transcript=own), agent_session_id="own")
    await here.warden.watch(session)
    assert (await here.event(Said)).event.at == 5
    return pid, session


async def go_on(here: Scene, pid: int, said: str) -> None:
    here.programs.write_line(pid, "go")
    assert here.programs.read_line(pid) == said


async def record(here: Scene, session: Session) -> Transcript | Unknown | None:
    here.warden._watch.followers[session.id].held_session_id = "own"  # as of one that locks what it writes
    return (await here.look(session)).transcript


async def test_another_conversation_that_is_open_is_unknown_until_it_is_read(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid, session = await started(here)
        alone = await record(here, session)
        assert isinstance(alone, Transcript)
        await go_on(here, pid, "open")
        assert await record(here, session) == Unknown("another conversation of it was not read yet")
        said = await here.event(Said)
        assert (said.event.kind, said.event.at, said.event.agent_session_id) == (EventKind.WORK, 7, "other")
        both = await record(here, session)
        assert isinstance(both, Transcript)
        assert both.size == alone.size + (here.home / ".scribe/other.talk").stat().st_size


async def test_what_another_conversation_writes_is_a_change(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid, session = await started(here)
        await go_on(here, pid, "open")
        await record(here, session)
        await here.event(Said)
        before = await record(here, session)
        with (tmp_path / ".scribe/other.talk").open("a") as file:
            file.write(line(EventKind.SETTLED, 8) + '{"half')
        after = await record(here, session)
        assert isinstance(before, Transcript)
        assert isinstance(after, Transcript)
        assert after.size > before.size
        assert (before.is_complete, after.is_complete) == (True, False)
        assert (await here.event(Said)).event.kind is EventKind.SETTLED


async def test_of_a_conversation_that_is_closed_nothing_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid, session = await started(here)
        alone = await record(here, session)
        await go_on(here, pid, "open")
        await record(here, session)
        await here.event(Said)
        await go_on(here, pid, "closed")
        assert await record(here, session) == alone
        said = await here.event(Said)
        assert (said.event.kind, said.event.agent_session_id) == (EventKind.SESSION_END, "other")
