"""The front door: every method call comes through here and meets the same questions in the same order.

Are the caller and its user within their number of calls, and is it their turn? Does the object exist for
it, does the interface live there, does the member exist, do the arguments fit signature and limits? Only
then a handler runs, and whatever it raises becomes one of our error names (`errors.describe`). The contract
says which members there are and `Objects`, supplied by the owner, what lives where: nothing is exported
object by object.

    front = Front(contract, objects, limits)
    front.register("org.musterd.Muster1.Manager", {"ReleaseSession": release, ...})
    front.properties("org.musterd.Muster1.Session", getter)
    front.check()
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from dbus_fast import Message, MessageFlag
from dbus_fast import introspection as intr

from musterd.core.errors import Failed, InvalidArgs, LimitReached

from .call import Call, Getter, Handler, Objects, Setter
from .contract import Contract
from .errors import BusError, BusGone, StandardError, Unanswerable, describe
from .fairness import Fairness
from .limits import Limits
from .link import Link
from .names import INTROSPECTABLE, PEER, STANDARD
from .received import Received
from .standard import Standard, children_of
from .writer import close_fds


class Front:
    """The dispatch table. Owns no task: the connection runs what `accept` returns."""

    def __init__(self, contract: Contract, objects: Objects, limits: Limits | None = None) -> None:
        self.contract = contract
        self.limits = limits or Limits()
        self._objects = objects
        self._standard = Standard(contract, objects, self.limits)
        self._handlers: dict[str, Mapping[str, Handler]] = dict(self._standard.handlers)
        self._fairness = Fairness(self.limits)
        # By unique name; None: nobody knows users.
        self.uid_of: Callable[[str], Awaitable[int]] | None = None

    def register(self, interface: str, handlers: Mapping[str, Handler]) -> None:
        """Answer all methods of `interface`. Raises ValueError unless they are those of the contract."""
        methods = self.contract.interfaces[interface].methods
        if wrong := sorted(methods.keys() ^ handlers.keys()):
            raise ValueError(f"{interface}: handlers and contract differ in {', '.join(wrong)}")
        self._handlers[interface] = handlers

    def properties(self, interface: str, getter: Getter, setter: Setter | None = None) -> None:
        """Let `getter` supply the properties of `interface`, and `setter` take the writable ones."""
        self._standard.serve_properties(interface, getter, setter)

    def check(self) -> None:
        """Raise ValueError if something of the contract has nobody to answer it."""
        methods = [
            i.name for i in self.contract.interfaces.values() if i.methods and i.name not in self._handlers
        ]
        if missing := methods + self._standard.without_getter():
            raise ValueError(f"nobody answers for {', '.join(missing)}")

    def in_flight(self, who: str | int) -> int:
        """Calls of a connection, by its unique name, or of a user, by its uid."""
        return self._fairness.in_flight(who)

    def accept(self, link: Link, message: Received) -> Coroutine[Any, Any, None] | None:
        """Take a call: the coroutine that will answer it, or None if it is refused at once."""
        sender = message.sender or ""
        try:
            self.limits.check_size(message.interface or "", message.member or "", message.size)
            self._fairness.enter(sender, message.size)
        except (InvalidArgs, LimitReached) as exc:
            _refuse(link, message, exc)
            return None
        fds: list[int] = []
        if "h" in message.signature:
            fds, message.unix_fds = message.unix_fds, []
        return self._serve(link, message, sender, fds)

    async def _serve(self, link: Link, message: Received, sender: str, fds: list[int]) -> None:
        arrived = asyncio.get_running_loop().time()
        counted: list[str | int] = [sender]
        try:
            sent = await self._answer(link, message, fds, counted, arrived)
            if sent is not None:
                with suppress(BusGone):
                    await sent  # a call counts until the bus has taken its answer
        finally:
            close_fds(fds)
            for who in counted:
                self._fairness.leave(who, message.size)

    async def _take_turn(self, message: Received, counted: list[str | int]) -> None:
        """Count it for its user, too, and wait until it may be served."""
        sender = message.sender or ""
        user = await self._user(sender)
        if user != sender:
            self._fairness.enter(user, message.size)
            counted.append(user)
        if delay := max(self._fairness.wait(who) for who in counted):
            await asyncio.sleep(delay)

    async def _user(self, sender: str) -> str | int:
        """Whose connection it is; the connection stands for itself if that cannot be told."""
        try:
            return await self.uid_of(sender) if self.uid_of else sender
        except BusError:
            return sender

    async def _answer(
        self, link: Link, message: Received, fds: list[int], counted: list[str | int], arrived: float
    ) -> asyncio.Future[None] | None:
        try:
            await self._take_turn(message, counted)
            call = await self._look(_call(message, arrived))
            method = await self._find(call, message.signature)
            call = replace(call, args=tuple(message.body))  # not before: nobody needs to read a wrong one
            self.limits.check(call.interface, call.member, call.args)
            result = await self._handlers[call.interface][call.member](_with_fds(call, method, fds))
        except asyncio.CancelledError:
            _refuse(link, message, Failed("musterd is stopping."))
            raise
        except Exception as exc:  # noqa: BLE001 - the task ends here; describe() logs what is no refusal
            return _refuse(link, message, exc)
        return self._return(link, message, method, list(result or ()))

    async def _look(self, call: Call) -> Call:
        """Ask what lives there, once a call: whoever is asked may have to ask somebody for a password."""
        if call.interface == PEER:
            return replace(call, interfaces=STANDARD)
        return replace(call, interfaces=await self._objects.interfaces(call, call.path))

    async def _find(self, call: Call, signature: str) -> intr.Method:
        if not call.interfaces and not await self._is_on_the_way(call):
            raise Unanswerable(StandardError.UNKNOWN_OBJECT, f"There is no object '{call.path}'.")
        if call.interface not in STANDARD and call.interface not in call.interfaces:
            raise Unanswerable(
                StandardError.UNKNOWN_INTERFACE, f"'{call.path}' has no interface '{call.interface}'."
            )
        method = self.contract.interfaces[call.interface].methods.get(call.member)
        if method is None:
            raise Unanswerable(
                StandardError.UNKNOWN_METHOD, f"'{call.interface}' has no method '{call.member}'."
            )
        if signature != method.in_signature:
            raise InvalidArgs(f"'{call.member}' takes '{method.in_signature}', not '{signature}'.")
        return method

    async def _is_on_the_way(self, call: Call) -> bool:
        """Whether the path leads to objects, so that tools can walk the tree from its root."""
        return call.interface == INTROSPECTABLE and bool(
            children_of(call.path, await self._objects.paths(call))
        )

    def _return(
        self, link: Link, message: Message, method: intr.Method, result: list[object]
    ) -> asyncio.Future[None] | None:
        fds = _take_fds(method, result)
        try:
            if message.flags & MessageFlag.NO_REPLY_EXPECTED:
                return None
            reply = Message.new_method_return(message, method.out_signature, result, fds)
            return link.send(reply, limit=self.limits.reply_limit(link.queued_bytes))
        except Exception as exc:  # noqa: BLE001 - a result of the wrong type raises anything at all
            return _refuse(link, message, exc)
        finally:
            close_fds(fds)


def _call(message: Message, arrived: float) -> Call:
    return Call(
        sender=message.sender or "",
        path=message.path or "",
        interface=message.interface or "",  # optional in D-Bus; we have too many members to guess
        member=message.member or "",
        args=(),
        is_interactive=bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION),
        arrived=arrived,
    )


def _with_fds(call: Call, method: intr.Method, fds: list[int]) -> Call:
    """The call with fds where the message has indexes into its list of fds."""
    if not fds and "h" not in method.in_signature:
        return call
    args = list(call.args)
    for number, arg in enumerate(method.in_args):
        if arg.signature == "h":
            if args[number] >= len(fds):
                raise InvalidArgs(f"'{call.member}' came without the fd of '{arg.name}'.")
            args[number] = fds[args[number]]
    return replace(call, args=tuple(args))


def _take_fds(method: intr.Method, result: list[object]) -> list[int]:
    """Move the fds of a result into a list of their own, leaving indexes."""
    fds: list[int] = []
    for number, arg in enumerate(method.out_args):
        if arg.signature == "h" and isinstance(fd := result[number], int):
            result[number] = len(fds)
            fds.append(fd)
    return fds


def _refuse(link: Link, message: Message, exc: Exception) -> asyncio.Future[None] | None:
    name, text = describe(exc)
    if message.flags & MessageFlag.NO_REPLY_EXPECTED:
        return None
    return link.send(Message.new_error(message, name, text))
