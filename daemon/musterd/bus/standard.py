"""The standard interfaces, answered by us: each caller sees only what `Objects` shows it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dbus_fast import Variant
from dbus_fast import introspection as intr

from musterd.core.errors import InvalidArgs, LimitReached, MusterError

from .call import Call, Getter, Handler, Objects, Setter
from .contract import Contract, Interface
from .errors import StandardError, Unanswerable
from .limits import Limits, Scale
from .names import INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES, STANDARD

DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    '"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)
BREATH = 64  # objects listed between two turns of the loop


class Standard:
    """Peer, Introspectable, Properties and ObjectManager for all our objects."""

    def __init__(self, contract: Contract, objects: Objects, limits: Limits) -> None:
        self._contract = contract
        self._objects = objects
        self._limits = limits
        self._getters: dict[str, Getter] = {}
        self._setters: dict[str, Setter] = {}
        self.handlers: dict[str, Mapping[str, Handler]] = {
            PEER: {"Ping": _ping, "GetMachineId": _get_machine_id},
            INTROSPECTABLE: {"Introspect": self._introspect},
            PROPERTIES: {"Get": self._get, "GetAll": self._get_all, "Set": self._set},
            OBJECT_MANAGER: {"GetManagedObjects": self._get_managed_objects},
        }

    def serve_properties(self, interface: str, getter: Getter, setter: Setter | None) -> None:
        self._getters[interface] = getter
        if setter is not None:
            self._setters[interface] = setter

    def without_getter(self) -> list[str]:
        """Interfaces that have properties nobody supplies."""
        return [
            i.name
            for i in self._contract.interfaces.values()
            if i.properties and i.name not in self._getters
        ]

    async def _introspect(self, call: Call) -> Sequence[object]:
        children = children_of(call.path, await self._objects.paths(call))
        names = (*STANDARD, *call.interfaces) if call.interfaces else ()
        parts = [self._contract.interfaces[name].xml for name in names]
        parts += [f' <node name="{child}"/>\n' for child in children]
        return ["".join([DOCTYPE, "<node>\n", *parts, "</node>\n"])]

    async def _get(self, call: Call) -> Sequence[object]:
        interface, prop = self._property(call)
        values = await self._getters[interface.name](call, call.path)
        return [Variant(prop.signature, values[prop.name])]

    async def _get_all(self, call: Call) -> Sequence[object]:
        return [await self._values(call, self._interface(call), call.path)]

    async def _set(self, call: Call) -> None:
        interface, prop = self._property(call)
        setter = self._setters.get(interface.name)
        if setter is None or not prop.access.writable():
            raise Unanswerable(StandardError.READ_ONLY, f"'{prop.name}' cannot be set.")
        value = call.args[2]
        if value.signature != prop.signature:
            raise InvalidArgs(f"'{prop.name}' takes '{prop.signature}', not '{value.signature}'.")
        await setter(call, prop.name, value.value)

    async def _get_managed_objects(self, call: Call) -> Sequence[object]:
        below = "/" if call.path == "/" else f"{call.path}/"
        scale = Scale(self._limits.reply, self._limits.reply)
        objects: dict[str, dict[str, dict[str, Variant]]] = {}
        for number, path in enumerate(sorted(await self._objects.paths(call))):
            if path.startswith(below) and (found := await self._object(call, path)):
                objects[path] = found
                _add(scale, found)
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)  # a long roll must not keep others waiting
        return [objects]

    async def _object(self, call: Call, path: str) -> dict[str, dict[str, Variant]]:
        try:
            names = await self._objects.interfaces(call, path)
            interfaces = [self._contract.interfaces[name] for name in names]
            return {i.name: await self._values(call, i, path) for i in interfaces}
        except MusterError:
            return {}  # went away meanwhile, or is not this caller's to see

    async def _values(self, call: Call, interface: Interface, path: str) -> dict[str, Variant]:
        if not interface.properties:
            return {}
        return interface.variants(await self._getters[interface.name](call, path))

    def _interface(self, call: Call) -> Interface:
        name = call.args[0]
        if name not in STANDARD and name not in call.interfaces:
            raise Unanswerable(StandardError.UNKNOWN_INTERFACE, f"'{call.path}' has no interface '{name}'.")
        return self._contract.interfaces[name]

    def _property(self, call: Call) -> tuple[Interface, intr.Property]:
        interface = self._interface(call)
        prop = interface.properties.get(call.args[1])
        if prop is None:
            raise Unanswerable(
                StandardError.UNKNOWN_PROPERTY, f"'{interface.name}' has no property '{call.args[1]}'."
            )
        return interface, prop


def children_of(path: str, paths: Iterable[str]) -> list[str]:
    """Names one level below `path` on the way to any of `paths`."""
    below = "/" if path == "/" else f"{path}/"
    return sorted(
        {p.removeprefix(below).split("/", 1)[0] for p in paths if p.startswith(below) and p != "/"}
    )


def _add(scale: Scale, found: Mapping[str, object]) -> None:
    try:
        scale.weigh(found)
    except InvalidArgs:
        raise LimitReached("There are too many objects for one answer, use the paged lists.") from None


async def _ping(_call: Call) -> None:
    return None


async def _get_machine_id(_call: Call) -> Sequence[object]:
    return [_machine_id()]


def _machine_id() -> str:
    return Path("/etc/machine-id").read_text().strip()  # machine-id(5): 33 bytes, not worth a thread
