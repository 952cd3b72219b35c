"""What a watched session says: its end, its transcript, its status, and what becomes known late."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.scribe import line, scene, session_of
from musterd.core.errors import NoSuchSession
from musterd.core.event import EventKind
from musterd.core.evidence import NativeState, Transcript, Unknown
from musterd.core.session import Source
from musterd.warden import watch
from musterd.warden.visit import Visit, resolve
from musterd.warden_port import Gone, Said


async def test_the_end_is_told_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        session = await here.session(pid)
        here.programs.end(pid)
        assert await here.event(Gone) == Gone(session.id)
        with pytest.raises(NoSuchSession):
            await here.warden.watch(session)
        await here.warden.sweep()
    assert [e async for e in here.warden.events() if isinstance(e, Gone)] == []


async def test_who_is_no_longer_watched_says_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        session = await here.session(pid)
        here.warden.unwatch(session.id)
        here.warden.unwatch(session.id)
        here.programs.end(pid)
    assert [e async for e in here.warden.events() if isinstance(e, Gone)] == []


async def test_a_process_that_is_another_one_now_is_not_watched(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        session = session_of(await here.warden.leader(here.start(), None))
        assert session.leader
        for other in (replace(session.leader, start_ticks=5), replace(session.leader, boot_id="x")):
            with pytest.raises(NoSuchSession):
                await here.warden.watch(replace(session, leader=other))
        with pytest.raises(NoSuchSession, match="another host"):
            await here.warden.watch(replace(session, leader=None))


async def test_the_tail_is_told_at_first_and_new_lines_as_they_come(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        path = here.write("t.jsonl", line(EventKind.TURN_START, 1) + line(EventKind.SETTLED, 2))
        session = await here.session(here.start(), transcript=path)
        said = [await here.event(Said) for _ in range(2)]
        assert [(s.event.kind, s.event.at) for s in said] == [
            (EventKind.TURN_START, 1),
            (EventKind.SETTLED, 2),
        ]
        with path.open("a") as file:
            file.write(line(EventKind.TURN_START, 3))
        event = await here.event(Said)
        assert (event.session, event.source, event.event.kind) == (
            session.id,
            Source.TRANSCRIPT,
            EventKind.TURN_START,
        )


async def test_many_writes_in_a_row_are_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "DEBOUNCE", 1.0)  # a busy machine takes longer than usual for them
    async with scene(tmp_path) as here:
        path = here.write("t.jsonl", "")
        session = await here.session(here.start(), transcript=path)
        looks: list[Visit] = []
        follower = here.warden._watch.followers[session.id]
        visit = follower.visit

        def counted() -> Visit:
            looks.append(visit())
            return looks[-1]

        monkeypatch.setattr(follower, "visit", counted)
        for number in range(1, 101):
            with path.open("a") as file:
                file.write(line(EventKind.WORK, number))
            await asyncio.sleep(0)
        while (await here.event(Said)).event.at < 100:
            pass
        assert len(looks) <= 5


async def test_a_record_without_a_stamp_has_that_of_the_file(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        path = here.write("t.jsonl", line(EventKind.SETTLED))
        os.utime(path, (1000, 1000))
        await here.session(here.start(), transcript=path)
        assert (await here.event(Said)).event.at == 1000 * 1_000_000


async def test_of_a_long_run_of_work_in_an_old_transcript_the_ends_are_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        work = "".join(line(EventKind.WORK, at) for at in range(2, 500))
        path = here.write("t.jsonl", line(EventKind.TURN_START, 1) + work + line(EventKind.SETTLED, 500))
        await here.session(here.start(), transcript=path)
        assert [(await here.event(Said)).event.at for _ in range(4)] == [1, 2, 499, 500]


async def test_a_status_file_is_followed_through_replacement(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        session = await here.session(pid)
        for state, kind in (
            ("busy", EventKind.WORK),
            ("waiting", EventKind.WAITING),
            ("shell", EventKind.WORK),
            ("idle", EventKind.SETTLED),
        ):
            here.write("new", json.dumps({"state": state, "at": 7, "id": "agent-1"})).rename(
                tmp_path / ".scribe" / f"status-{pid}"
            )
            said = await here.event(Said)
            assert (said.event.kind, said.event.at, said.source) == (kind, 7, Source.NATIVE)
            assert (said.event.detail, said.event.agent_session_id) == (state, "agent-1")
        look = await here.look(session)
        assert look.native
        assert not isinstance(look.native, Unknown)
        assert look.native.state is NativeState.IDLE
        assert not isinstance(look.identity, Unknown)
        assert look.identity.agent_session_id == "agent-1"


async def test_a_transcript_that_appears_later_is_found_and_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start(environ={"SCRIBE_TRANSCRIPT": "HOME/.scribe/*/talk/log-*.jsonl"})
        session = await here.session(pid)
        assert (await here.look(session)).transcript == Unknown("its transcript is not there")
        folder = tmp_path / ".scribe" / "project" / "talk"
        folder.mkdir(parents=True)
        (folder / "log-1.jsonl").write_text(line(EventKind.TURN_START, 5))
        note = (await here.event(Said)).event
        assert (note.kind, note.transcript) == (EventKind.NOTE, str(folder / "log-1.jsonl"))
        assert (await here.event(Said)).event.kind is EventKind.TURN_START


async def test_two_files_that_fit_are_none(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write("log-1", "")
        here.write("log-2", "")
        session = await here.session(here.start(environ={"SCRIBE_TRANSCRIPT": "HOME/.scribe/log-*"}))
        assert isinstance((await here.look(session)).transcript, Unknown)


async def test_a_lock_taken_later_tells_the_agent_s_session(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write("settings", "")
        pid = here.start(
            "read line; exec 9>$HOME/.scribe/agent-7.lock; flock 9; echo locked; read line",
            environ={"HOME": str(tmp_path)},
        )
        session = await here.session(pid)
        here.programs.write_line(pid, "go")
        assert here.programs.read_line(pid) == "locked"
        await here.warden.sweep()
        said = await here.event(Said)
        assert (said.event.kind, said.event.agent_session_id) == (EventKind.NOTE, "agent-7")
        look = await here.look(session)
        assert not isinstance(look.identity, Unknown)
        assert look.identity.agent_session_id == "agent-7"


async def test_a_new_transcript_takes_the_place_of_the_old(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        old = here.write("old.jsonl", line(EventKind.WORK, 1))
        new = here.write("new.jsonl", line(EventKind.WORK, 2))
        session = await here.session(here.start(), transcript=old)
        await here.warden.watch(replace(session, transcript=str(new)))
        assert [(await here.event(Said)).event.at for _ in range(2)] == [1, 2]
        with old.open("a") as file:
            file.write(line(EventKind.WORK, 3))
        with new.open("a") as file:
            file.write(line(EventKind.WORK, 4))
        while (said := (await here.event(Said)).event).kind is EventKind.NOTE:
            pass
        assert said.at == 4


@pytest.mark.parametrize("broken", ["crash", "{", ""])
async def test_a_status_that_makes_no_sense_is_unknown(tmp_path: Path, broken: str) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        here.write(f"status-{pid}", broken)
        assert isinstance((await here.look(await here.session(pid))).native, Unknown)


async def test_an_adapter_that_stumbles_makes_the_transcript_incomplete(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        path = here.write("t.jsonl", line(EventKind.SETTLED, 1))
        session = await here.session(here.start(), transcript=path)
        with path.open("a") as file:
            file.write(json.dumps({"kind": "crash"}) + "\n")
        first, later = [(await here.look(session)).transcript for _ in range(2)]
        assert isinstance(later, Transcript)
        assert not later.is_complete
        # What is told of the change may have been read before the first look.
        assert first in (Unknown("its transcript cannot be parsed: RuntimeError"), later)


def test_a_file_whose_name_is_no_text_is_no_transcript(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"session-\xff-1.jsonl")).touch()
    assert resolve(f"{tmp_path}/session-*-1.jsonl") is None
    (tmp_path / "session-x-1.jsonl").touch()
    assert resolve(f"{tmp_path}/session-*-1.jsonl") == f"{tmp_path}/session-x-1.jsonl"
