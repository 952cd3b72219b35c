"""What a user who means ill may run: `hostile.py ATTACK [ARGS]` tells systemd when it has begun, and prints
as JSON what came of it. It needs Python and nothing else.

It speaks to the system bus in bytes of its own: no library would send most of this. All ends by itself.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

SYSTEM_BUS = "/run/dbus/system_bus_socket"
BUS, BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
NAME, ROOT = "org.musterd.Muster1", "/org/musterd/Muster1"
MANAGER, REAPER, STOP_GATE, WARDENS = (
    f"{NAME}.{name}" for name in ("Manager", "Reaper", "StopGate", "Wardens")
)

CALL, RETURN, ERROR, SIGNAL = range(1, 5)
NO_REPLY = 1
MIB = 1024 * 1024
TIMEOUT = 120.0  # seconds for an answer, on a busy machine
LINGER = 600.0  # seconds for which something is held, unless it is ended before
END_OF_LEASE = 45.0  # seconds (proc(5), lease-break-time)


def aligned(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<I", len(data)) + data + b"\0"


def strings(*texts: str) -> bytes:
    data = b""
    for text in texts:
        data = aligned(data, 4) + string(text)
    return data


def array(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def variants(depth: int) -> bytes:
    """An empty list of strings in that many variants."""
    return aligned(b"\1v\0" * (depth - 1) + b"\2as\0", 4) + array(b"")


class Bus:
    """A connection, and the serial of the last message."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SYSTEM_BUS)
        self.sock.settimeout(TIMEOUT)
        self.sock.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        assert self._line().startswith(b"OK")
        self.sock.sendall(b"NEGOTIATE_UNIX_FD\r\n")
        self._line()
        self.sock.sendall(b"BEGIN\r\n")
        self.stream = self.sock.makefile("rb")
        self.serial = 0
        self.name = self.ask(BUS, BUS_PATH, BUS, "Hello")[5:-1]

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += self.sock.recv(1)
        return line

    def message(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: bytes = b"",
        *,
        kind: int = CALL,
        flags: int = 0,
    ) -> bytes:
        self.serial += 1
        fields = b""
        given = ((1, "o", path), (2, "s", interface), (3, "s", member), (6, "s", destination))
        for code, sort, value in (*given, (8, "g", signature)):
            if value:
                field = bytes([code, 1]) + sort.encode() + b"\0"
                text = bytes([len(value)]) + value.encode() + b"\0" if sort == "g" else string(value)
                fields = aligned(fields, 8) + field + text
        start = struct.pack("<BBBBIII", ord("l"), kind, flags, 1, len(body), self.serial, len(fields))
        return aligned(start + fields, 8) + body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: bytes = b"",
    ) -> str:
        """Call and wait: "ok: " or the name of the error, with the first string of the answer; or "away"."""
        try:
            self.send(self.message(destination, path, interface, member, signature, body))
            return self.answer(self.serial)
        except (OSError, EOFError):
            return "away"

    def musterd(self, interface: str, member: str, signature: str = "", body: bytes = b"") -> str:
        return self.ask(NAME, ROOT, interface, member, signature, body)

    def answer(self, serial: int) -> str:
        while True:
            kind, fields, body = self.receive()
            if kind in (RETURN, ERROR) and fields.get(5) == serial:
                text = ""
                if str(fields.get(8, "")).startswith(("s", "o")):
                    (size,) = struct.unpack_from("<I", body)
                    text = body[4 : 4 + size].decode()
                return f"{'ok' if kind == RETURN else str(fields[4])}: {text}"

    def answers(self, serials: Iterable[int]) -> list[str]:
        """As `answer`, of all of these, in the order in which they come."""
        wanted, said = set(serials), []
        while wanted:
            kind, fields, _ = self.receive()
            if kind in (RETURN, ERROR) and fields.get(5) in wanted:
                wanted.remove(int(fields[5]))
                said.append("ok" if kind == RETURN else str(fields[4]))
        return said

    def receive(self) -> tuple[int, Mapping[int, str | int], bytes]:
        start = self._read(16)
        size, _, length = struct.unpack_from("<III", start, 4)
        data = self._read(length + -length % 8)
        return start[1], _fields(data[:length]), self._read(size)

    def _read(self, size: int) -> bytes:
        data = self.stream.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _fields(data: bytes) -> dict[int, str | int]:
    fields: dict[int, str | int] = {}
    at = 0
    while at < len(data):
        at += -at % 8
        code, sort = data[at], data[at + 2 : at + 3]
        at += 4
        if sort == b"g":
            fields[code] = data[at + 1 : at + 1 + data[at]].decode()
            at += data[at] + 2
            continue
        (value,) = struct.unpack_from("<I", data, at)
        at += 4
        if sort == b"u":
            fields[code] = value
        else:
            fields[code] = data[at : at + value].decode()
            at += value + 1
    return fields


def begun() -> None:
    """Tell systemd-run, which waits for it (sd_notify(3))."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect(path.replace("@", "\0", 1) if path.startswith("@") else path)
            notify.send(b"READY=1")


# Messages


def huge() -> object:
    """Each takes seconds to read, and more memory than there is for that."""
    body = array(b"\1y\0\1" * (16 * MIB // 4))
    return [Bus().musterd(MANAGER, member, "av", body) for member in ("ListSessions", "RegisterSession")]


def deep() -> object:
    """As deep as the bus allows, and one deeper."""
    prefix = strings(f"{NAME}.Session", "Title")
    return [
        Bus().ask(NAME, ROOT, "org.freedesktop.DBus.Properties", "GetAll", "v", variants(64)),
        Bus().musterd(MANAGER, "ListSessions", "v", variants(64)),
        Bus().musterd(MANAGER, "ListSessions", "v", variants(65)),
        Bus().musterd(MANAGER, "ListSessions", "v", variants(65536)),
        Bus().musterd(MANAGER, "ReportEvent", "ssv", prefix + variants(63)),
    ]


def odd() -> object:
    """Nothing that any library would send; a connection each."""
    said = {}
    for case, (member, signature, body) in {
        "no UTF-8": ("GetSession", "s", string(b"\xff\xfe")),
        "half a character": ("GetSession", "s", string(b"\xe2\x82")),
        "a surrogate": ("GetSession", "s", string(b"\xed\xa0\x80")),
        "a zero": ("GetSession", "s", string(b"a\0b")),
        "longer than it is": ("GetSession", "s", struct.pack("<I", 1000) + b"a\0"),
        "no body": ("GetSession", "s", b""),
        "another signature": ("GetSession", "t", bytes(8)),
        "too much": ("GetSession", "ss", strings("a", "b")),
        "no signature": ("GetSession", "", b""),
        "a struct": ("RegisterSession", "(sv)", string("pid") + b"\0\0\0\0\1u\0" + bytes(4)),
        "a file descriptor": ("GetSession", "h", bytes(4)),
        "no such member": ("Nonsense", "", b""),
        "payload that is no JSON": ("ReportEvent", "sss", strings("codex", "stop", "{" * 100_000)),
        "payload without end": ("ReportEvent", "sss", strings("codex", "stop", "[" * 200_000)),
        "payload with a lone surrogate": (
            "ReportEvent",
            "sss",
            strings("codex", "stop", '{"cwd":"\\ud800"}'),
        ),
        "payload with a huge number": (
            "ReportEvent",
            "sss",
            strings("codex", "stop", f'{{"a":{"9" * 9000}}}'),
        ),
        "payload that is too long": ("ReportEvent", "sss", strings("codex", "stop", " " * 300_000)),
    }.items():
        said[case] = Bus().musterd(MANAGER, member, signature, body)
    header = Bus()
    header.send(header.message(NAME, "/" + "a" * 8 * MIB, MANAGER, "ListSessions"))
    said["endless path"] = header.ask(BUS, BUS_PATH, BUS, "GetId")[:3]
    return said


def calls(connections: str, seconds: str, interface: str = MANAGER, member: str = "ListSessions") -> object:
    """As many as go through, each without wanting to know what comes of it -> how many."""
    begun()
    buses = [Bus() for _ in range(int(connections))]
    frame = buses[0].message(NAME, ROOT, interface, member, flags=NO_REPLY)
    until, count = time.monotonic() + float(seconds), 0
    while time.monotonic() < until:
        for bus in buses:
            bus.send(frame * 64)
            count += 64
    return count


def bodies(connections: str, seconds: str) -> object:
    """Calls that are as long as may be -> how many."""
    begun()
    buses = [Bus() for _ in range(int(connections))]
    body = aligned(strings("codex", "stop"), 4) + string(" " * 250_000)
    frame = buses[0].message(NAME, ROOT, MANAGER, "ReportEvent", "sss", body, flags=NO_REPLY)
    until, count = time.monotonic() + float(seconds), 0
    while time.monotonic() < until:
        for bus in buses:
            bus.send(frame)
            count += 1
    return count


def piles(connections: str) -> object:
    """Calls that wait: short to send, long to keep; as many as one may have -> how often each was said."""
    body = aligned(strings("codex", "Stop"), 4) + string('{"a":[' + "[]," * 80_000 + "[]]}")
    asked = [(bus := Bus(), bus.serial) for _ in range(int(connections))]
    for bus, _ in asked:
        for _ in range(64):
            bus.send(bus.message(NAME, ROOT, MANAGER, "ReportEvent", "sss", body))
    said = Counter[str]()
    for bus, before in asked:
        said.update(bus.answers(range(before + 1, before + 65)))
    return said


def matches(connections: str) -> object:
    """All the match rules that the bus grants, on signals of musterd, by somebody who does not read them."""
    granted = 0
    buses = [Bus() for _ in range(int(connections))]
    for bus in buses:
        for number in range(10_000):
            rule = f"type='signal',sender='{NAME}',arg0='{number}'"
            if not bus.ask(BUS, BUS_PATH, BUS, "AddMatch", "s", string(rule)).startswith("ok"):
                break
            granted += 1
        bus.ask(BUS, BUS_PATH, BUS, "RemoveMatch", "s", string(f"type='signal',sender='{NAME}',arg0='0'"))
        bus.ask(BUS, BUS_PATH, BUS, "AddMatch", "s", string(f"type='signal',sender='{NAME}'"))
    begun()
    time.sleep(LINGER)
    return granted


def names() -> object:
    """Takes for itself what others look for."""
    bus = Bus()
    wanted = (NAME, f"{NAME}.Notify", "org.freedesktop.PolicyKit1", "org.freedesktop.systemd1")
    return {
        name: bus.ask(
            BUS, BUS_PATH, BUS, "RequestName", "su", aligned(string(name), 4) + struct.pack("<I", 2)
        )
        for name in wanted
    }


def activations(count: str) -> object:
    """Has musterd started as often as it can."""
    bus = Bus()
    for name in (NAME, "org.musterd.Nonsense1") * (int(count) // 2):
        body = aligned(string(name), 4) + bytes(4)
        bus.send(bus.message(BUS, BUS_PATH, BUS, "StartServiceByName", "su", body, flags=NO_REPLY))
    return bus.ask(BUS, BUS_PATH, BUS, "GetId")[:3]


def forge(session: str) -> object:
    """Signals as musterd sends them, to all, and straight to everybody who is there."""
    bus = Bus()
    bus.send(bus.message(BUS, BUS_PATH, BUS, "ListNames"))
    kind, _, body = bus.receive()
    while kind != RETURN:
        kind, _, body = bus.receive()
    everybody, at = [""], 4
    while at < len(body):
        at += -at % 4
        (size,) = struct.unpack_from("<I", body, at)
        everybody.append(body[at + 4 : at + 4 + size].decode())
        at += size + 5
    soon = int((time.time() + 60) * 1e6)
    for destination in everybody:
        for member, signature, rest in (
            ("PrepareForReap", "st", struct.pack("<Q", soon)),
            ("SessionReaped", "stb", struct.pack("<QI", 1 << 30, 0)),
            ("ReapCancelled", "ss", string("none")),
        ):
            said = aligned(string(session), 4 if signature == "ss" else 8) + rest
            bus.send(bus.message(destination, ROOT, REAPER, member, signature, said, kind=SIGNAL))
        said = aligned(aligned(string(session), 4) + string("block"), 4) + struct.pack("<I", 1)
        bus.send(bus.message(destination, ROOT, STOP_GATE, "StopEvaluated", "ssb", said, kind=SIGNAL))
    return [bus.ask(BUS, BUS_PATH, BUS, "GetId")[:3], len(everybody)]


def riddles(destination: str) -> object:
    """Signals that cost much to read, straight to one program."""
    bus = Bus()
    bus.send(bus.message(destination, ROOT, REAPER, "PrepareForReap", "v", variants(64), kind=SIGNAL))
    body = array(b"\1y\0\1" * (16 * MIB // 4))
    bus.send(bus.message(destination, ROOT, REAPER, "PrepareForReap", "av", body, kind=SIGNAL))
    return bus.ask(BUS, BUS_PATH, BUS, "GetId")[:3]


# Processes and files


def crowd(program: str, count: str) -> object:
    """So many processes of that name, each with 60 kB of words: `sleep` adds them up."""
    words = [program, "4714", *["0" * 6000] * 10]
    pids = [os.posix_spawn(program, words, {}) for _ in range(int(count))]
    begun()
    time.sleep(LINGER)
    return len(pids)


def bomb() -> object:
    """As many processes as there may be, and new ones for those that end."""
    begun()
    until = time.monotonic() + LINGER
    while time.monotonic() < until:
        try:
            if os.fork() == 0:
                time.sleep(0.5)
                os._exit(0)
        except BlockingIOError:
            time.sleep(0.01)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return None


def lease(path: str) -> object:
    """Who opens the file waits until the lease is given back, as on a file system that hangs."""
    Path(path).write_text("{}\n")
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    begun()
    time.sleep(END_OF_LEASE)
    return None


def swap(path: str, target: str) -> object:
    """A file that is a link to another one every other moment."""
    file, link = Path(path + ".file"), Path(path + ".link")
    begun()
    until = time.monotonic() + LINGER
    while time.monotonic() < until:
        file.write_text("{}\n")
        file.rename(path)
        link.symlink_to(target)
        link.rename(path)
    return None


def stubborn() -> object:
    """Does not leave when it is asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begun()
    time.sleep(LINGER)
    return None


MESSAGES = (huge, deep, odd, calls, bodies, piles, matches, names, activations, forge, riddles)
PROCESSES = (crowd, bomb, lease, swap, stubborn)
ATTACKS: Mapping[str, Callable[..., object]] = {
    attack.__name__: attack for attack in (*MESSAGES, *PROCESSES)
}

if __name__ == "__main__":
    print(json.dumps(ATTACKS[sys.argv[1]](*sys.argv[2:])))
