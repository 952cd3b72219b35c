"""Keeps wrong object paths off the wire: the bus ends the connection of whoever sends one.

The library checks strings and signatures it sends, and the paths in headers, but not paths in a body.
"""

from typing import Any

from dbus_fast import Message
from dbus_fast.signature import SignatureType
from dbus_fast.validators import is_object_path_valid


def check_paths(message: Message) -> None:
    """Raise ValueError if the body has a value of type `o` that is no object path."""
    for part, value in zip(message.signature_tree.types, message.body, strict=False):
        if _may_hold_paths(part):
            _check(part, value)


def _may_hold_paths(part: SignatureType) -> bool:
    return "o" in part.signature or "v" in part.signature


def _check(part: SignatureType, value: Any) -> None:
    # A value that does not fit its type raises something; the marshaller would have said the same.
    match part.token:
        case "o":
            if not is_object_path_valid(value):
                raise ValueError(f"'{value}' is no object path")
        case "v":
            if _may_hold_paths(value.type):
                _check(value.type, value.value)
        case "(":
            for child, item in zip(part.children, value, strict=False):
                if _may_hold_paths(child):
                    _check(child, item)
        case "a" if isinstance(value, dict):
            key_type, value_type = part.children[0].children
            _check_dict(key_type, value_type, value)
        case "a":
            for item in value:
                _check(part.children[0], item)


def _check_dict(key_type: SignatureType, value_type: SignatureType, values: dict[Any, Any]) -> None:
    for key, item in values.items():
        if key_type.token == "o":
            _check(key_type, key)
        if _may_hold_paths(value_type):
            _check(value_type, item)
