"""The service manager is told what sd_notify(3) asks for, on a real socket."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musterd.host.notify import Notifier

Notify = tuple[socket.socket, Notifier]


def listening(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(address)
    server.setblocking(False)
    return server


@pytest.fixture(params=["path", "abstract"])
def notify(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Notify]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@musterd-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with listening(name.replace("@", "\0")) as server:
        notifier = Notifier()
        yield server, notifier
        notifier.close()


def received(server: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(server.recv(65536).decode())
        except BlockingIOError:
            return messages


def test_a_life_is_told(notify: Notify) -> None:
    server, notifier = notify
    notifier.ready("2 sessions")
    notifier.watchdog()
    notifier.stopping("Stopping")
    assert received(server) == ["READY=1\nSTATUS=2 sessions", "WATCHDOG=1", "STOPPING=1\nSTATUS=Stopping"]


def test_a_status_is_sent_only_when_it_is_new(notify: Notify) -> None:
    server, notifier = notify
    for text in ("idle", "idle", "busy", "idle"):
        notifier.status(text)
    assert received(server) == ["STATUS=idle", "STATUS=busy", "STATUS=idle"]


def test_a_status_is_one_line_of_utf8(notify: Notify) -> None:
    server, notifier = notify
    notifier.status("漢字 ünd\nMAINPID=1")
    assert received(server) == ["STATUS=漢字 ünd\\nMAINPID=1"]


def test_reloading_carries_its_time(notify: Notify) -> None:
    server, notifier = notify
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready()
    (reloading, ready) = received(server)
    flag, _, stamp = reloading.partition("\nMONOTONIC_USEC=")
    assert (flag, ready) == ("RELOADING=1", "READY=1")
    assert before <= int(stamp) <= time.monotonic_ns() // 1000


def test_a_socket_made_anew_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    notifier = Notifier()
    with listening(path):
        notifier.ready()
    os.unlink(path)
    with listening(path) as server:
        notifier.watchdog()
        assert received(server) == ["WATCHDOG=1"]
    notifier.close()


def test_a_service_manager_that_is_gone_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nothing"))
    Notifier().ready()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_service_manager_that_does_not_read_cannot_stop_the_daemon(
    notify: Notify, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("musterd.host.notify.SEND_TIMEOUT", 0.01)
    _, notifier = notify
    for _ in range(10_000):
        notifier.watchdog()
        if caplog.records:
            break
    assert caplog.records[0].getMessage().startswith("Cannot notify the service manager")


def test_without_a_service_manager_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with caplog.at_level("DEBUG"):
        notifier = Notifier()
        notifier.ready("well")
        notifier.watchdog()
    assert [record.getMessage() for record in caplog.records] == [
        "NOTIFY_SOCKET is not set, telling no service manager"
    ]


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("30000000", "", 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("soon", "", None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(
    usec: str, pid: str, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert Notifier().watchdog_interval == interval
