"""Signals of others: which we asked the bus for, and whether one really comes from whom it should.

Any program may send any signal straight to us, so the sender is always compared, also when a rule names a
well-known name: then the owner of that name is followed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from dbus_fast import Message

from .errors import RemoteError

BUS = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"


@dataclass(frozen=True, slots=True)
class Signal:
    sender: str
    path: str
    member: str
    args: tuple[Any, ...]  # of the types in the sender's signature


Listener = Callable[[Signal], None]
BusCall = Callable[..., Awaitable[tuple[Any, ...]]]  # (member, signature, *args) of the bus itself


@dataclass(frozen=True, slots=True)
class Match:
    """What to listen to. Empty means any, except for the sender."""

    sender: str
    interface: str
    member: str = ""
    path: str = ""
    arg0: str = ""

    @property
    def rule(self) -> str:
        keys = {"sender": self.sender, "interface": self.interface, "member": self.member, "path": self.path}
        parts = [f"{key}='{value}'" for key, value in (*keys.items(), ("arg0", self.arg0)) if value]
        return ",".join(["type='signal'", *parts])

    def covers(self, message: Message) -> bool:
        return (
            message.interface == self.interface
            and self.member in ("", message.member)
            and self.path in ("", message.path)
            and (not self.arg0 or (bool(message.body) and message.body[0] == self.arg0))
        )


def owner_changes(name: str) -> Match:
    """When `name`, well-known or unique, gets, changes or loses its owner; args: name, old, new owner."""
    return Match(BUS, BUS, "NameOwnerChanged", BUS_PATH, name)


@dataclass(eq=False, slots=True)
class Subscription:
    """One rule with its listener, and who may send what it lets through."""

    match: Match
    listener: Listener
    sender: str = field(init=False, default="")  # the unique name; empty: nobody owns the name now
    _owner_changes: int = field(init=False, default=0)  # that we were told of

    @property
    def rules(self) -> list[str]:
        rules = [self.match.rule]
        return [owner_changes(self.match.sender).rule, *rules] if self._follows_owner else rules

    async def install(self, bus: BusCall) -> None:
        """Ask the bus for the signals. Also after a reconnect: the new connection knows no rule."""
        self.sender = ""  # on another bus the same name means another program
        for rule in self.rules:
            await bus("AddMatch", "s", rule)
        if not self._follows_owner:
            self.sender = self.match.sender
            return
        told = self._owner_changes
        owner = await _owner(bus, self.match.sender)
        if told == self._owner_changes:  # else a change that came with the answer is newer
            self.sender = owner

    def deliver(self, message: Message) -> None:
        if (
            self._follows_owner
            and _is_from_bus(message)
            and owner_changes(self.match.sender).covers(message)
        ):
            self.sender = message.body[2]
            self._owner_changes += 1
        if message.sender == self.sender and self.match.covers(message):
            signal = Signal(self.sender, message.path or "", message.member or "", tuple(message.body))
            self.listener(signal)

    @property
    def _follows_owner(self) -> bool:
        return self.match.sender != BUS and not self.match.sender.startswith(":")


def _is_from_bus(message: Message) -> bool:
    return message.sender == BUS


async def _owner(bus: BusCall, name: str) -> str:
    try:
        (owner,) = await bus("GetNameOwner", "s", name)
    except RemoteError:
        return ""
    return str(owner)
