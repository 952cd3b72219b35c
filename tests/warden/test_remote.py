"""The daemon's end of a warden: what is said on the line, taken and refused."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import look, session
from helpers.fakes import FakeClock, FakeWarden, leader
from helpers.processes import sleepers
from helpers.wait import until
from musterd.core.errors import Busy, Failed, NoSuchSession
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Observation, Unknown, Usage
from musterd.core.session import Agent, Session, SessionId, Source
from musterd.host.process import HeldProcess, read_facts
from musterd.warden import exchange as module
from musterd.warden.answers import Answers
from musterd.warden.line import FRAME, MEMBERS, ORDER, WINDOW, Line, LineEnded, Member
from musterd.warden.remote import RemoteWarden
from musterd.warden.wire import dump, load, pack, unpack
from musterd.warden_port import Appeared, Ending, Gone, Leader, Leftover, Said, Warden, WardenEvent

UID = os.getuid()


class ByHand:
    """The other end of a line; what the daemon says is one JSON object a line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def say(self, **message: object) -> None:
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def hear(self, member: str = "") -> dict[str, Any]:
        """The next message, or the next call of that method."""
        while True:
            message: dict[str, Any] = json.loads(await self._reader.readline())
            if member in ("", message.get("member")):
                return message


@asynccontextmanager
async def by_hand() -> AsyncIterator[tuple[RemoteWarden, ByHand]]:
    ours, theirs = socket.socketpair()
    line = await Line.open(ours, FRAME)
    reader, writer = await asyncio.open_unix_connection(sock=theirs, limit=ORDER)
    warden = RemoteWarden(UID, line, FakeClock(), lambda: None)
    running = asyncio.create_task(warden.run())
    try:
        yield warden, ByHand(reader, writer)
    finally:
        await warden.close()
        await running
        await line.ended()
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def honest() -> AsyncIterator[tuple[RemoteWarden, FakeWarden]]:
    """Both ends of a line, and a warden behind the other one that writes down what it is told."""
    ours, theirs = socket.socketpair()
    line, other = await Line.open(ours, FRAME), await Line.open(theirs, ORDER)
    warden, fake = RemoteWarden(UID, line, FakeClock(), lambda: None), FakeWarden(UID)
    tasks = [asyncio.create_task(warden.run()), asyncio.create_task(_answer(Answers(fake, other)))]
    try:
        yield warden, fake
    finally:
        await warden.close()
        await asyncio.wait(tasks)
        other.drop()
        await line.ended()
        await other.ended()


async def _answer(answers: Answers) -> None:
    with pytest.raises(LineEnded):
        await answers.run()


def own_leader(pid: int) -> Leader:
    with HeldProcess(pid) as held:
        return Leader(held.ref, read_facts(pid), Agent.OTHER)


# What goes over it


@pytest.mark.parametrize(
    "value",
    [
        session(),
        replace(session(), leader=None, host="far"),
        leader(5),
        look(),
        look(children=Unknown("no"), screen=None, worktree="3 files", native=Unknown("?")),
        Ending(is_ended=True, how="SIGTERM", freed=7, left=("a", "b")),
        Said(SessionId("a"), AgentEvent(EventKind.STOP, 5, pending=("x",)), Source.NATIVE),
        Usage(1, 2, 3, 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_sent_is_what_arrives(value: object) -> None:
    assert unpack(type(value), load(dump(pack(value)))) == value


@given(st.text())
def test_any_text_can_be_told(text: str) -> None:
    told = Gone(SessionId(text))
    assert isinstance(unpack(Gone, load(dump(pack(told)))), Gone)


def test_odd_file_names_lose_what_is_odd_about_them() -> None:
    assert (
        unpack(Gone, load(dump(pack(Gone(SessionId("a\udcffb\0")))))).session
        == "a?b\N{REPLACEMENT CHARACTER}"
    )


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("a field too few", {"@": "Usage", "memory": 1, "private": 1, "cpu_usec": 1}),
        ("one too many", {"@": "Usage", "memory": 1, "private": 1, "cpu_usec": 1, "tasks": 1, "more": 1}),
        ("another type", {"@": "Gone", "session": "x"}),
        ("no name", {"memory": 1, "private": 1, "cpu_usec": 1, "tasks": 1}),
        ("a text", {"@": "Usage", "memory": "1", "private": 1, "cpu_usec": 1, "tasks": 1}),
        ("a truth", {"@": "Usage", "memory": True, "private": 1, "cpu_usec": 1, "tasks": 1}),
        ("below nothing", {"@": "Usage", "memory": -1, "private": 1, "cpu_usec": 1, "tasks": 1}),
        ("beyond the bus", {"@": "Usage", "memory": 2**63, "private": 1, "cpu_usec": 1, "tasks": 1}),
        ("a list", []),
        ("nothing", None),
    ],
)
def test_what_is_not_quite_the_type_is_refused(case: str, data: object) -> None:
    with pytest.raises(ValueError, match=r"it is no|is no int|out of all bounds"):
        unpack(Usage, data)


# An honest one


async def test_all_that_a_warden_does_goes_over_the_line() -> None:
    async with honest() as (warden, fake):
        with sleepers(1) as [process]:
            fake.leaders[process.pid] = own_leader(process.pid)
            found = await warden.leader(process.pid, None)
            assert found == fake.leaders[process.pid]
            watched = session(uid=UID, leader=found.process)
            await warden.watch(watched)
            assert (await warden.lineage(process.pid))[0] == found.process
            looks = await warden.observe([watched, session(id=SessionId("other"))], screens=True)
            assert looks[watched.id].usage == (await fake.observe([watched], screens=True))[watched.id].usage
            assert looks[SessionId("other")].identity == Unknown("it is not watched")
            assert await warden.usage([watched]) == {watched.id: Usage(memory=7)}
            await warden.sweep()
            warden.forget(found.process)
            fake.reclaimable[watched.id] = 9
            assert await warden.reclaim(watched) == 9
            leftover = Leftover(watched.id, found.process, "node", 7)
            fake.left = [leftover]
            assert list(await warden.leftovers([watched])) == [leftover]
            assert (await warden.end_leftovers([leftover])).freed == 5
            await warden.resume(watched)
            assert (await warden.end(watched, look())).freed == 200
            warden.unwatch(watched.id)
            await until(lambda: fake.told[-1] == f"unwatch {watched.id}")


async def test_refusals_keep_their_names_and_words() -> None:
    async with honest() as (warden, fake):
        with pytest.raises(NoSuchSession, match=r"There is no process 77\."):
            await warden.leader(77, None)
        fake.failure = Busy("One at a time.")
        with pytest.raises(Busy, match=r"One at a time\."):
            await warden.watch(session(uid=UID))
        fake.failure = RuntimeError("a mistake")
        with pytest.raises(Failed, match="cannot do 'watch'"):
            await warden.watch(session(uid=UID))


async def test_events_come_in_order_and_begin_when_they_are_asked_for() -> None:
    async with honest() as (warden, fake):
        told: list[WardenEvent] = [Gone(SessionId(f"s{number}")) for number in range(3 * WINDOW)]
        for event in told:
            assert isinstance(event, Gone)
            warden._known.add(event.session)
            fake.queue.put_nowait(event)
        heard = []
        async for event in warden.events():
            heard.append(event)
            if len(heard) == len(told):
                break
        assert heard == told


# Any other


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not JSON\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b"null\n",
        b'{"unknown": 1}\n',
        b'{"done": 77, "value": null}\n',
        b'{"done": -1, "value": null}\n',
        b'{"done": true, "value": null}\n',
        b'{"done": {}, "value": null}\n',
        b'{"part": 1}\n',
        b'{"event": null}\n',
        b'{"event": {"@": {}}}\n',
        b'{"event": {"@": "Gone"}}\n',
        b'{"event": {"@": "Gone", "session": 5}}\n',
        b'{"event": {"@": "Gone", "session": "not-mine"}}\n',
        b'{"event": {"@": "Gone", "session": "\\ud800"}}\n',
        b'{"event": {"@": "Session", "id": "x"}}\n',
        b'{"event": {"@": "Said", "session": "x", "event": {}, "source": "hook"}}\n',
        b'{"event": ' + b"[" * 100_000 + b"}\n",
        b'{"done": ' + b"9" * 10_000 + b"}\n",
        b'{"event": "' + b"x" * 2 * FRAME + b'"}\n',
        b"x" * 3 * FRAME,
    ],
    ids=lambda line: line[:24].decode("ascii", "replace").strip(),
)
async def test_garbage_ends_the_line(line: bytes) -> None:
    async with by_hand() as (warden, other):
        waiting = asyncio.create_task(warden.sweep())
        await other.hear("sweep")
        other.writer.write(line)
        with pytest.raises(Failed):
            await waiting
        assert warden.is_liar
        with pytest.raises(Failed, match="it says what cannot be"):
            await warden.sweep()


async def test_answer_about_what_was_not_asked_ends_the_line() -> None:
    async with by_hand() as (warden, other):
        asking = asyncio.create_task(warden.usage([session(uid=UID)]))
        number = (await other.hear("usage"))["call"]
        other.say(part=number, key="another", value=pack(Usage()))
        with pytest.raises(Failed):
            await asking
        assert warden.is_liar


async def test_leftovers_of_another_user_s_session_end_the_line() -> None:
    async with by_hand() as (warden, other):
        asking = asyncio.create_task(warden.leftovers([session(uid=UID)]))
        number = (await other.hear("leftovers"))["call"]
        other.say(done=number, value=[pack(Leftover(SessionId("x"), leader(5).process, "node", 7))])
        with pytest.raises(Failed, match="cannot be believed"):
            await asking
        assert warden.is_liar


@pytest.mark.parametrize("lie", ["uid", "pid", "start", "size"])
async def test_leader_that_cannot_be_ends_the_line(lie: str) -> None:
    async with by_hand() as (warden, other):
        with sleepers(1) as [process]:
            told: dict[str, Any] = pack(own_leader(process.pid))
            match lie:
                case "uid":
                    told["facts"]["uid"] = UID + 1
                case "pid":
                    told["facts"]["pid"] += 1
                case "start":
                    told["facts"]["start_ticks"] += 1
                case "size":
                    told["terminal"] = "x" * 5000
            asking = asyncio.create_task(warden.leader(process.pid, None))
            other.say(done=(await other.hear("leader"))["call"], value=told)
            with pytest.raises(Failed, match="cannot be believed"):
                await asking
            assert warden.is_liar


async def test_leader_that_has_ended_meanwhile_is_no_lie() -> None:
    with sleepers(1) as [process]:
        told = pack(own_leader(process.pid))
    async with by_hand() as (warden, other):
        asking = asyncio.create_task(warden.leader(process.pid, None))
        other.say(done=(await other.hear("leader"))["call"], value=told)
        with pytest.raises(NoSuchSession):
            await asking
        other.say(event={"@": "Appeared", "leader": told})
        asking = asyncio.create_task(warden.leader(process.pid, None))
        await other.hear("leader")
        assert not warden.is_liar
        asking.cancel()
        await asyncio.wait([asking])


async def test_event_of_a_session_that_is_not_watched_any_more_is_no_lie() -> None:
    async with by_hand() as (warden, other):
        watching = asyncio.create_task(warden.watch(session(uid=UID)))
        other.say(done=(await other.hear("watch"))["call"], value=None)
        await watching
        warden.unwatch(session().id)
        other.say(event=pack(Gone(session().id)))
        assert await anext(warden.events()) == Gone(session().id)


async def test_silent_one_is_waited_for_once_and_not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, Member]", MEMBERS), "sweep", replace(MEMBERS["sweep"], within=0.1))
    async with by_hand() as (warden, other):
        with pytest.raises(Failed, match="did not answer in time"):
            await warden.sweep()
        number = (await other.hear("sweep"))["call"]
        with pytest.raises(Failed, match="did not answer in time"):
            await warden.watch(session(uid=UID))  # which may take much longer
        other.say(done=number, value=None)  # late, and no lie
        await until(lambda: not warden._silent_since)
        watching = asyncio.create_task(warden.watch(session(uid=UID)))
        other.say(done=(await other.hear("watch"))["call"], value=None)
        await watching


async def test_one_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, Member]", MEMBERS), "sweep", replace(MEMBERS["sweep"], within=0.1))
    monkeypatch.setattr(module, "SILENCE", 0.1)
    async with by_hand() as (warden, _):
        with pytest.raises(Failed):
            await warden.sweep()
        while not warden.why_ended:
            with pytest.raises(Failed):
                await warden.sweep()
            await asyncio.sleep(0)
        assert warden.why_ended == "it does not answer"


async def test_no_more_calls_wait_than_anybody_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS", 3)
    async with by_hand() as (warden, other):
        waiting = [asyncio.create_task(warden.sweep()) for _ in range(3)]
        await other.hear("sweep")
        with pytest.raises(Failed, match="busy with 3 calls"):
            await warden.sweep()
        other.writer.transport.abort()
        for call in waiting:
            with pytest.raises(Failed, match="is gone"):
                await call
        assert not warden.is_liar


async def test_events_beyond_the_window_end_the_line_and_those_within_it_are_heard() -> None:
    async with by_hand() as (warden, other):
        watching = asyncio.create_task(warden.watch(session(uid=UID)))
        other.say(done=(await other.hear("watch"))["call"], value=None)
        await watching
        for _ in range(WINDOW + 1):
            other.say(event=pack(Gone(session().id)))
        heard = [event async for event in warden.events()]
        assert len(heard) == WINDOW
        assert warden.is_liar


async def test_what_is_too_long_to_be_told_is_refused_by_the_warden_itself() -> None:
    class Wordy(FakeWarden):
        async def observe(self, sessions: Any, *, screens: bool) -> dict[SessionId, Observation]:
            return {s.id: look(worktree="x" * FRAME) for s in sessions}

        async def end(self, session: Session, last_look: Observation | None) -> Ending:
            return Ending(is_ended=True, how="x" * FRAME)

    ours, theirs = socket.socketpair()
    line, other = await Line.open(ours, FRAME), await Line.open(theirs, ORDER)
    warden, wordy = RemoteWarden(UID, line, FakeClock(), lambda: None), Wordy(UID)
    wordy.start(session().leader.pid)  # type: ignore[union-attr]
    tasks = [asyncio.create_task(warden.run()), asyncio.create_task(_answer(Answers(wordy, other)))]
    await warden.watch(session(uid=UID))
    looks = await warden.observe([session(uid=UID)], screens=True)
    assert looks[session().id].identity == Unknown("it is not watched")
    with pytest.raises(Failed, match="too much of it"):
        await warden.end(session(uid=UID), None)
    await warden.close()
    await asyncio.wait(tasks)
    other.drop()
    await line.ended()
    await other.ended()


def test_every_method_of_the_port_goes_over_the_line() -> None:
    methods = {name for name in vars(Warden) if not name.startswith("_")} - {"close", "uid"}
    assert methods == MEMBERS.keys()


def test_appeared_is_checked_like_a_leader() -> None:
    assert isinstance(unpack(Appeared, load(dump(pack(Appeared(leader(5)))))), Appeared)


async def test_what_nobody_has_heard_yet_takes_no_more_than_so_much_memory() -> None:
    async with by_hand() as (warden, other):
        with sleepers(1) as [process]:
            told: dict[str, Any] = pack(own_leader(process.pid))
            told["facts"]["argv"] = ["x" * 60_000]
            count = 4 * module.EVENTS // 60_000
            for _ in range(count):
                other.say(event={"@": "Appeared", "leader": told})
            await until(lambda: warden._waiting_bytes > module.EVENTS)
            heard = 0
            async for _ in warden.events():
                assert warden._waiting_bytes < module.EVENTS + 2 * FRAME
                heard += 1
                if heard == count:
                    break
        assert not warden.is_liar


async def test_warden_whose_events_nobody_hears_can_be_left() -> None:
    async with by_hand() as (warden, other):
        with sleepers(1) as [process]:
            told: dict[str, Any] = pack(own_leader(process.pid))
            told["facts"]["argv"] = ["x" * 60_000]
            for _ in range(2 * module.EVENTS // 60_000):
                other.say(event={"@": "Appeared", "leader": told})
            await until(lambda: warden._waiting_bytes > module.EVENTS)


@pytest.mark.parametrize("way", ["one is too long", "all are"])
async def test_answers_that_are_longer_than_there_is_to_tell_end_the_line(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [session(id=SessionId(f"s{number}"), uid=UID) for number in range(8)]
    size = 100_000 if way == "one is too long" else 20_000
    monkeypatch.setattr(module, "PARTS", 100_000)
    async with by_hand() as (warden, other):
        asking = asyncio.create_task(warden.observe(sessions, screens=False))
        number = (await other.hear("observe"))["call"]
        for each in sessions:
            other.say(part=number, key=each.id, value=pack(look(children=Unknown("x" * size))))
        with pytest.raises(Failed):
            await asking
        assert warden.is_liar


def test_number_that_is_too_long_for_a_float_is_refused() -> None:
    for number in (10**400, -(10**400), 2**64, True, "1", float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"out of all bounds|is no float"):
            unpack(float, number)
    assert unpack(float, 5) == 5.0
