"""What goes wrong with one session stays with it; what goes wrong with a request is refused."""

import asyncio
import errno
import os
import resource
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.programs import until
from helpers.scribe import Scribe, line, scene
from helpers.tmux import TmuxServer
from helpers.wait import until as loop_until
from musterd.core.errors import Failed
from musterd.core.event import EventKind
from musterd.core.evidence import Identity, Presence, Screen, Transcript, Unknown
from musterd.core.session import SessionId
from musterd.host import workers
from musterd.host.process import read_stat
from musterd.host.transcript import Lines, Tail
from musterd.warden import looks, watch
from musterd.warden_port import Appeared, Said


def stumble(*_: object) -> object:
    raise RuntimeError("a bug in the adapter")


def missing(*_: object) -> object:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@contextmanager
def no_fds_left() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_without_an_fd_left_everything_is_refused_and_nothing_wrong_is_remembered(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        session = await here.session(here.start())
        new = here.start("read line", environ={"SCRIBE_TRANSCRIPT": "HOME/.scribe/x"})
        with no_fds_left():
            for asked in (
                lambda: here.warden.observe([session], screens=True),
                lambda: here.warden.usage([session]),
                lambda: here.warden.sweep(),
                lambda: here.warden.leader(new, None),
                lambda: here.warden.lineage(new),
                lambda: here.warden.leftovers([replace(session, id=SessionId("ended"))]),
                lambda: here.warden.end(session, None),
            ):
                with pytest.raises(Failed, match="Too many open files"):
                    await asked()
        leader = await here.warden.leader(new, None)
        assert (leader.facts.uid, leader.facts.environ["SCRIBE_TRANSCRIPT"]) == (
            os.getuid(),
            "HOME/.scribe/x",
        )
        assert isinstance((await here.look(session)).identity, Identity)


async def test_a_kernel_that_does_not_tell_of_locks_has_its_holders_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "lock_holders", missing)
    async with scene(tmp_path) as here:
        here.write("settings", "")
        script = "read line; exec 9>$HOME/.scribe/agent-7.lock; flock 9; echo locked; read line"
        pid = here.start(script, environ={"HOME": str(tmp_path)})
        session = await here.session(pid)
        here.programs.write_line(pid, "go")
        assert here.programs.read_line(pid) == "locked"
        identity = (await here.look(session)).identity
        assert isinstance(identity, Identity)
        assert identity.agent_session_id == "agent-7"


async def test_an_adapter_s_mistake_costs_only_what_it_was_asked_and_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            pane = server.pane(f"exec {here.scribe} -c 'read line\n:'")
            pid = int(server.about(pane, "pane_pid"))
            until(lambda: read_stat(pid).comm == "scribe", "it runs")
            session = await here.session(pid)
            assert isinstance((await here.look(session, screens=True)).screen, Screen)
            monkeypatch.setattr(Scribe, "screen", stumble)
            for _ in range(3):
                look = await here.look(session, screens=True)
                assert look.screen == Unknown("its screen cannot be read: RuntimeError")
                assert isinstance(look.identity, Identity)
    assert sum("made a mistake" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("what", ["is_helper", "open_session"])
async def test_a_session_that_cannot_be_looked_at_costs_no_other_its_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with scene(tmp_path) as here:
        pid = here.start("sh -c 'echo $$; read line'; :")
        here.programs.adopt(int(here.programs.read_line(pid)))
        bad, good = await here.session(pid, "bad"), await here.session(here.start(), "good")
        here.warden._watch.followers[bad.id].held_session_id = "x"
        monkeypatch.setattr(Scribe, what, stumble)
        looks = await here.warden.observe([bad, good], screens=False)
        assert looks[bad.id].identity == Unknown("it cannot be looked at: RuntimeError")
        assert isinstance(looks[good.id].identity, Identity)


@pytest.mark.parametrize("what", ["transcript", "status_file"])
async def test_an_adapter_that_cannot_name_the_files_makes_them_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with scene(tmp_path) as here:
        leader = here.start()
        session = await here.session(leader)
        here.warden.unwatch(session.id)
        monkeypatch.setattr(Scribe, what, stumble)
        await here.warden.watch(session)
        look = await here.look(session)
        assert look.transcript == Unknown("its files cannot be read: RuntimeError")
        assert isinstance(look.identity, Identity)


@pytest.mark.parametrize("what", ["role", "package_files", "open_session"])
async def test_the_search_goes_on_after_an_adapter_s_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with scene(tmp_path) as here:
        with monkeypatch.context() as patch:
            patch.setattr(Scribe, what, stumble)
            pid = here.start()
            await here.warden.sweep()
        other = here.start()
        await here.warden.sweep()
        assert (await here.event(Appeared)).leader.process.pid in (pid, other)


# What hangs


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, words: str) -> Iterator[None]:
    """A call of that method, on whatever has these words in its path, comes back only at the end."""
    monkeypatch.setattr(workers, "PATIENCE", 2.0)  # what does not hang has an answer by then
    real, released = getattr(owner, name), threading.Event()

    def hang(self: object, *args: object) -> object:
        result = real(self, *args)
        if words in str(getattr(self, "path", words)):
            released.wait()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, hang)
        yield
    released.set()


def visits() -> int:
    return sum(thread.name == "visit" for thread in threading.enumerate())


async def test_a_transcript_that_hangs_is_unknown_and_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        path = here.write("hung.jsonl", "")
        hung = await here.session(here.start(), "hung", transcript=path)
        good = await here.session(here.start(), "good", transcript=here.write("good.jsonl", ""))
        await here.look(hung)
        path.write_text(line(EventKind.SETTLED, 7))
        with hanging(monkeypatch, Tail, "read", "hung"):
            asked = asyncio.ensure_future(here.warden.observe([hung, good], screens=False))
            await loop_until(visits)  # it goes on
            looks = await asked
            assert looks[hung.id].transcript == Unknown("its files cannot be read: it does not answer")
            assert isinstance(looks[good.id].transcript, Transcript)
            for _ in range(5):
                assert isinstance((await here.look(hung)).transcript, Unknown)
                until(lambda: visits() == 1, "it is not begun again")
        until(lambda: visits() == 0, "it came back")
        assert isinstance((await here.look(hung)).transcript, Transcript)
        assert (await here.event(Said)).event.at == 7  # what was read by the one that hung is not lost


async def test_a_package_that_hangs_tells_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        with hanging(monkeypatch, Scribe, "package_files", ""):
            leader = await here.warden.leader(here.start(), None)
        assert (leader.version, leader.agent) == ("", Scribe.agent)


async def test_a_look_takes_one_thread_whatever_there_is_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        sessions = [await here.session(here.start("sleep 60"), f"s{n}") for n in range(20)]
        threads: list[threading.Thread] = []
        read = Tail.read

        def noted(tail: Tail) -> tuple[Lines, Transcript]:
            threads.append(threading.current_thread())
            return read(tail)

        monkeypatch.setattr(watch, "VISITS", 3)
        monkeypatch.setattr(Tail, "read", noted)
        for session in sessions:
            here.warden._watch.followers[session.id]._reader = Tail("/nonexistent", os.getuid())
        await here.warden.observe(sessions, screens=False)
        assert max(Counter(threads).values()) >= 20  # a file that changed may be visited besides
        assert threading.current_thread() not in threads
        until(lambda: not any(thread.is_alive() for thread in threads), "it has ended")


# What lies ahead


async def test_nobody_typed_in_the_future(tmp_path: Path) -> None:
    """The time of a tty may be 8 s behind, and is taken as the latest that it can stand for."""
    async with scene(tmp_path) as here:
        with TmuxServer(tmp_path) as server:
            pane = server.pane(f"exec {here.scribe} -c 'echo; read line; read line\n:'")
            pid = int(server.about(pane, "pane_pid"))
            until(lambda: read_stat(pid).comm == "scribe", "it runs")
            session = await here.session(pid)
            server.run("send-keys", "-t", pane, "Enter")
            for screens in (False, True):
                look = await here.look(session, screens=screens)
                assert isinstance(look.presence, Presence)
                assert 0 < look.presence.last_input <= look.at


async def test_who_ended_is_not_remembered(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        pid = here.start()
        session = await here.session(pid)
        here.warden.unwatch(session.id)
        here.programs.end(pid)
        await here.warden.observe([], screens=False)
        warden = here.warden
        assert warden._sweeps._announced == set()
        assert warden._leaders._described == {}
        assert SessionId("s") not in warden._watch.followers
