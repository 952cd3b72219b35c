"""A stand-in for musterd on the bus: says what the test wants it to say, and writes down what it is told."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from dbus_fast import Message, Variant

from musterd.bus.driver import CLAIM, claim
from musterd.bus.link import Link
from musterd.bus.names import BUS_NAME, MANAGER, REAPER, ROOT, SESSION, SESSIONS, STOP_GATE

REFUSED = "org.musterd.Muster1.Error.Busy"


class FakeMusterd:
    """Made by `fake_musterd`. Sessions are added to `sessions`; one that is not there is AccessDenied."""

    def __init__(self) -> None:
        self.sessions: dict[str, Mapping[str, Variant]] = {}
        self.reaper = {"AutoDisabled": Variant("b", False), "AutoDisabledReason": Variant("s", "")}
        self.told: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()  # orders: (member, *args)
        self.refuses = ""  # the sentence with which orders are refused
        self.pipes: list[int] = []  # our ends of inhibitors; readable when the other end is closed
        self.link: Link

    def add(self, session_id: str, *, uid: int | None = None, resumable: bool = True, **texts: str) -> None:
        self.sessions[session_id] = {
            "UID": Variant("u", os.getuid() if uid is None else uid),
            "Agent": Variant("s", texts.get("agent", "codex")),
            "Title": Variant("s", texts.get("title", "")),
            "CWD": Variant("s", texts.get("cwd", "/home/user/parser")),
            "Memory": Variant("t", 1_288_490_188),
            "Resumable": Variant("b", resumable),
        }

    def say(self, member: str, signature: str, *args: object, interface: str = REAPER) -> None:
        self.link.send(Message.new_signal(ROOT, interface, member, signature, list(args)))

    def prepare(self, session_id: str, seconds: float = 3600) -> None:
        self.say("PrepareForReap", "st", session_id, time.time_ns() // 1000 + int(seconds * 1e6))

    def cancelled(self, session_id: str, gate: str) -> None:
        self.say("ReapCancelled", "ss", session_id, gate)

    def reaped(self, session_id: str, freed: int = 0, *, dry_run: bool = False) -> None:
        self.say("SessionReaped", "stb", session_id, freed, dry_run)

    def evaluated(self, session_id: str, verdict: str, *, enforced: bool = True) -> None:
        self.say("StopEvaluated", "ssb", session_id, verdict, enforced, interface=STOP_GATE)

    def disarm(self, reason: str) -> None:
        """As the daemon does it: the properties change, and that they did is signalled."""
        self.reaper = {
            "AutoDisabled": Variant("b", bool(reason)),
            "AutoDisabledReason": Variant("s", reason),
        }
        interface = "org.freedesktop.DBus.Properties"
        self.say("PropertiesChanged", "sa{sv}as", REAPER, self.reaper, [], interface=interface)

    async def hold_ended(self, number: int = -1) -> None:
        """Return when nobody has the other end of an inhibitor any more."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.pipes[number], ended.set)
        await ended.wait()
        loop.remove_reader(self.pipes[number])

    # What a link tells us

    def method_called(self, link: Link, message: Message) -> None:
        link.send(self._answer(message))

    def signal_received(self, link: Link, message: Message) -> None: ...

    def link_lost(self, link: Link, reason: str) -> None: ...

    def _answer(self, message: Message) -> Message:
        if message.member == "GetAll":
            return self._properties(message)
        assert message.interface == MANAGER
        self.told.put_nowait((message.member, *message.body))
        if self.refuses:
            return Message.new_error(message, REFUSED, self.refuses)
        match message.member:
            case "Inhibit":
                ours, theirs = os.pipe()
                self.pipes.append(ours)
                reply = Message.new_method_return(message, "h", [0], [theirs])
                asyncio.get_running_loop().call_soon(os.close, theirs)  # the writer has its own copy by then
                return reply
            case "ResumeSession":
                return Message.new_method_return(message, "s", [message.body[0]])
        return Message.new_method_return(message)

    def _properties(self, message: Message) -> Message:
        if message.body == [REAPER]:
            return Message.new_method_return(message, "a{sv}", [self.reaper])
        assert message.body == [SESSION]
        session_id = (message.path or "").removeprefix(SESSIONS)
        if session_id not in self.sessions:
            return Message.new_error(message, f"{BUS_NAME}.Error.AccessDenied", "It is another user's.")
        return Message.new_method_return(message, "a{sv}", [self.sessions[session_id]])


@asynccontextmanager
async def fake_musterd(address: str, name: str = BUS_NAME, refuses: str = "") -> AsyncIterator[FakeMusterd]:
    fake = FakeMusterd()
    fake.refuses = refuses
    fake.link = await Link.open(address, fake, within=60)
    try:
        if name:
            await claim(fake.link, name, CLAIM)
        yield fake
    finally:
        await fake.link.close()
        for pipe in fake.pipes:
            os.close(pipe)
