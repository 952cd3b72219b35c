"""Our types as JSON, and back: what goes over the line between the daemon and a warden.

Reading is strict, since the other end may be anybody: exactly the fields of the type, each of its type,
texts that every later reader can take, whole numbers without a sign. A dataclass is an object that has its
name under "@"; the rest follows from the annotations.
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

TEXT = 128 * 1024  # characters; the longest are command lines
ITEMS = 4096  # of one list
NUMBER = 2**63  # what a bus message and a database row can hold

_NAME = "@"


def pack(value: object) -> Any:
    """What json.dumps takes. Texts that are no Unicode (odd file names) lose what is odd about them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: pack(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {_NAME: type(value).__name__, **fields}
    match value:
        case Enum():
            return value.value
        case str():
            return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        case Mapping():
            return {pack(key): pack(item) for key, item in value.items()}
        case list() | tuple():
            return [pack(item) for item in value]
    return value


def unpack(kind: type[T] | Any, data: object) -> T:
    """The value of that type. ValueError says what is wrong with the data."""
    return _unpack(kind, data)  # type: ignore[no-any-return]  # of the type that was asked for


def dump(value: object) -> bytes:
    """One line."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def load(line: bytes) -> Mapping[str, object]:
    """The object in a line; ValueError if there is none."""
    try:
        value = json.loads(line)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _unpack(kind: Any, data: object) -> Any:
    origin = get_origin(kind)
    if isinstance(kind, NewType):
        return _unpack(kind.__supertype__, data)
    if origin in (Union, types.UnionType):
        return _unpack(_option(get_args(kind), data), data)
    if origin is tuple:
        return _tuple(get_args(kind), data)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(get_args(kind), data)
    if dataclasses.is_dataclass(kind):
        return _object(kind, data)
    return _scalar(kind, data)


def _option(kinds: tuple[Any, ...], data: object) -> Any:
    """Which of them it is meant to be."""
    named: dict[object, Any] = {
        kind.__name__: kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    }
    if data is None and types.NoneType in kinds:
        return types.NoneType
    if isinstance(data, dict) and (kind := named.get(str(data.get(_NAME)))):
        return kind
    plain = [kind for kind in kinds if kind not in named.values() and kind is not types.NoneType]
    if isinstance(data, dict) or not plain:
        raise ValueError(f"it is none of {', '.join(map(str, named))}")
    return plain[0]


def _tuple(kinds: tuple[Any, ...], data: object) -> tuple[Any, ...]:
    if not isinstance(data, list) or len(data) > ITEMS:
        raise ValueError("it is no list, or a longer one than anybody needs")
    if kinds[1:] == (...,):
        return tuple(_unpack(kinds[0], item) for item in data)
    if len(kinds) != len(data):
        raise ValueError(f"{len(data)} items are not {len(kinds)}")
    return tuple(_unpack(kind, item) for kind, item in zip(kinds, data, strict=True))


def _mapping(kinds: tuple[Any, ...], data: object) -> Mapping[Any, Any]:
    key, value = kinds
    if not isinstance(data, dict) or len(data) > ITEMS:
        raise ValueError("it is no table, or a larger one than anybody needs")
    return {_unpack(key, name): _unpack(value, item) for name, item in data.items()}


def _object(kind: Any, data: object) -> Any:
    hints = _hints(kind)
    if not isinstance(data, dict) or data.keys() != {_NAME, *hints} or data[_NAME] != kind.__name__:
        raise ValueError(f"it is no {kind.__name__}")
    return kind(**{name: _field(hint, name, data[name]) for name, hint in hints.items()})


def _field(hint: Any, name: str, data: object) -> Any:
    try:
        return _unpack(hint, data)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    known = get_type_hints(kind)
    return {field.name: known[field.name] for field in dataclasses.fields(kind)}


def _scalar(kind: Any, data: object) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if kind is types.NoneType and data is None:
        return None
    if kind is float and isinstance(data, int | float) and type(data) is not bool:
        return _number(data)
    if type(data) is not kind:
        raise ValueError(f"{str(data)[:64]!r} is no {getattr(kind, '__name__', kind)}")
    if isinstance(data, str):
        _check_text(data)
    elif isinstance(data, int) and not 0 <= data < NUMBER:
        raise ValueError(f"{str(data)[:64]} is out of all bounds")
    return data


def _number(data: float) -> float:
    if not -NUMBER < data < NUMBER:  # nor one that is none, nor too long for a float
        raise ValueError(f"{str(data)[:64]} is out of all bounds")
    return float(data)


def _check_text(text: str) -> None:
    if len(text) > TEXT or "\0" in text:
        raise ValueError("a text is too long, or is none")
    text.encode()  # UnicodeEncodeError is a ValueError: half a character
