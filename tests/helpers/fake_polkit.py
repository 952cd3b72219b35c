"""A polkit of the test's own: says what it is told to say, and writes down what it is asked."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from musterd.bus.call import Call
from musterd.bus.connection import BusConnection
from musterd.bus.contract import Contract
from musterd.bus.front import Front
from musterd.bus.polkit import AUTHORITY, NAME, PATH

XML = f"""<node><interface name="{AUTHORITY}">
 <method name="CheckAuthorization">
  <arg name="subject" type="(sa{{sv}})"/><arg name="action_id" type="s"/><arg name="details" type="a{{ss}}"/>
  <arg name="flags" type="u"/><arg name="cancellation_id" type="s"/>
  <arg name="result" type="(bba{{ss}})" direction="out"/>
 </method>
 <method name="CancelCheckAuthorization"><arg name="cancellation_id" type="s"/></method>
</interface></node>"""


@dataclass
class FakePolkit:
    """`allowed` are the actions that it grants, for others it wants a password, which nobody here knows.

    With `hangs` it never answers, with `refuses` no password would help.
    """

    allowed: set[str] = field(default_factory=set)
    hangs: bool = False
    refuses: bool = False
    asked: list[tuple[str, str, int]] = field(default_factory=list)  # (unique name, action, flags)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def interfaces(self, _call: Call, path: str) -> Collection[str]:
        return (AUTHORITY,) if path == PATH else ()

    async def paths(self, _call: Call) -> Collection[str]:
        return [PATH]

    async def check(self, call: Call) -> Sequence[Any]:
        (kind, details), action, _details, flags, _number = call.args
        assert kind == "system-bus-name"
        self.asked.append((details["name"].value, action, flags))
        self.begun.set()
        if self.hangs:
            await asyncio.Event().wait()
        is_allowed = action in self.allowed
        return [[is_allowed, not is_allowed and not self.refuses, {}]]

    async def cancel(self, call: Call) -> None:
        self.cancelled.put_nowait(call.args[0])


@asynccontextmanager
async def fake_polkit(address: str, *allowed: str, hangs: bool = False) -> AsyncIterator[FakePolkit]:
    polkit = FakePolkit(set(allowed), hangs)
    front = Front(Contract([XML]), polkit)
    front.register(
        AUTHORITY, {"CheckAuthorization": polkit.check, "CancelCheckAuthorization": polkit.cancel}
    )
    async with asyncio.TaskGroup() as tasks, BusConnection.open(address, tasks, NAME, front):
        yield polkit
