"""The D-Bus interfaces as the hand-written XML defines them: names, signatures, annotations.

The sources are `dbus/*.xml` at the top of the tree. `interfaces` beside this file is a link to that
directory, so that an installed package (which carries copies) and a checkout find them in the same way.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from xml.etree.ElementTree import indent, tostring

from dbus_fast import Variant
from dbus_fast import introspection as intr

EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_PROSE = re.compile(r"DocString|\.documentation$", re.IGNORECASE)  # annotations that only people read

# https://dbus.freedesktop.org/doc/dbus-specification.html#standard-interfaces
_STANDARD_XML = """<node>
 <interface name="org.freedesktop.DBus.Peer">
  <method name="Ping"/>
  <method name="GetMachineId"><arg name="machine_uuid" type="s" direction="out"/></method>
 </interface>
 <interface name="org.freedesktop.DBus.Introspectable">
  <method name="Introspect"><arg name="xml_data" type="s" direction="out"/></method>
 </interface>
 <interface name="org.freedesktop.DBus.Properties">
  <method name="Get">
   <arg name="interface_name" type="s"/><arg name="property_name" type="s"/>
   <arg name="value" type="v" direction="out"/>
  </method>
  <method name="GetAll">
   <arg name="interface_name" type="s"/><arg name="props" type="a{sv}" direction="out"/>
  </method>
  <method name="Set">
   <arg name="interface_name" type="s"/><arg name="property_name" type="s"/><arg name="value" type="v"/>
  </method>
  <signal name="PropertiesChanged">
   <arg name="interface_name" type="s"/><arg name="changed_properties" type="a{sv}"/>
   <arg name="invalidated_properties" type="as"/>
  </signal>
 </interface>
 <interface name="org.freedesktop.DBus.ObjectManager">
  <method name="GetManagedObjects">
   <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
  </method>
  <signal name="InterfacesAdded">
   <arg name="object_path" type="o"/><arg name="interfaces_and_properties" type="a{sa{sv}}"/>
  </signal>
  <signal name="InterfacesRemoved">
   <arg name="object_path" type="o"/><arg name="interfaces" type="as"/>
  </signal>
 </interface>
</node>"""

Values = Mapping[str, object]  # property name: plain value


@dataclass(frozen=True)
class Interface:
    """One interface of the contract. Members are the library's introspection classes, by name."""

    name: str
    methods: Mapping[str, intr.Method]
    signals: Mapping[str, intr.Signal]
    properties: Mapping[str, intr.Property]
    source: intr.Interface

    @classmethod
    def of(cls, source: intr.Interface) -> "Interface":
        return cls(
            source.name,
            {method.name: method for method in source.methods},
            {signal.name: signal for signal in source.signals},
            {prop.name: prop for prop in source.properties},
            source,
        )

    @cached_property
    def xml(self) -> str:
        """The interface as Introspect shows it: without prose."""
        element = self.source.to_xml()
        for parent in list(element.iter()):
            for note in parent.findall("annotation"):
                if _PROSE.search(note.get("name", "")):
                    parent.remove(note)
        indent(element, " ", level=1)
        return f" {tostring(element, encoding='unicode')}\n"

    def variants(self, values: Values) -> dict[str, Variant]:
        """Plain property values as the bus wants them."""
        return {name: Variant(self.properties[name].signature, value) for name, value in values.items()}

    def changes(self, values: Values) -> list[object]:
        """The body of PropertiesChanged for new values, as each property's EmitsChangedSignal wants it.

        `true` sends the value, `invalidates` only the name, `const` and `false` nothing.
        """
        emits = {name: self._emits(name) for name in values}
        changed = {name: value for name, value in values.items() if emits[name] == "true"}
        return [self.name, self.variants(changed), [name for name in values if emits[name] == "invalidates"]]

    def _emits(self, name: str) -> str:
        annotations = self.properties[name].annotations
        return annotations.get(EMITS_CHANGED, self.source.annotations.get(EMITS_CHANGED, "true"))


class Contract:
    """All interfaces there are, ours and the standard ones, by name."""

    def __init__(self, documents: Iterable[str]) -> None:
        nodes = [intr.Node.parse(document) for document in (_STANDARD_XML, *documents)]
        self.interfaces: Mapping[str, Interface] = {
            interface.name: Interface.of(interface) for node in nodes for interface in node.interfaces
        }
        for interface in self.interfaces.values():
            _refuse_hidden_fds(interface)

    @classmethod
    def load(cls) -> "Contract":
        """The contract of this version of musterd."""
        folder = files("musterd.bus") / "interfaces"
        return cls(entry.read_text() for entry in folder.iterdir() if entry.name.endswith(".xml"))


def _refuse_hidden_fds(interface: Interface) -> None:
    for method in interface.methods.values():
        for arg in (*method.in_args, *method.out_args):
            if "h" in str(arg.signature) and arg.signature != "h":
                raise ValueError(f"{interface.name}.{method.name}: an fd inside '{arg.signature}'")
