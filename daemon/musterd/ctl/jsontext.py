"""JSON as people write it, with the place of everything in it: so that a change touches nothing else.

Comments and trailing commas are understood and stay. What an edit put in, `without` takes out to the byte.
No library that was found edits such text in place: they parse it, and write all of it anew.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_DEPTH = 100

_TRIVIA = re.compile(r"(?:[ \t\r\n]++|//[^\r\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)*+")
_SAME_LINE_COMMENT = re.compile(r"[ \t]*(?://[^\r\n]*|/\*(?:[^*\r\n]|\*(?!/))*\*/)")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?![\w.+-])")
_GAP = re.compile(r"(?:\r?\n[ \t]*| )\Z")
_BOM = "\ufeff"


class NotJson(ValueError):
    """Says in which line, and what."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value. `start` is where its key begins if it has one; `at` is where the value itself does."""

    start: int
    at: int
    end: int
    value: object = None  # of what is neither an object nor an array
    key: str = ""
    children: Sequence["Node"] | None = None
    is_object: bool = False

    @property
    def plain(self) -> object:
        if self.children is None:
            return self.value
        if self.is_object:
            return {child.key: child.plain for child in self.children}
        return [child.plain for child in self.children]

    @property
    def is_array(self) -> bool:
        return self.children is not None and not self.is_object

    @property
    def inside(self) -> Sequence["Node"]:
        return self.children or ()

    def named(self, key: str) -> "Node | None":
        """The member of that name. NotJson if there are two: programs differ on which one counts."""
        found = [child for child in self.inside if child.key == key] if self.is_object else []
        if len(found) > 1:
            raise NotJson(f"'{key}' is there twice")
        return found[0] if found else None


def parse(text: str) -> Node:
    """NotJson if it is none."""
    scanner = _Scanner(text)
    at = scanner.skip(1 if text.startswith(_BOM) else 0)
    node = scanner.value(at, at, "", MAX_DEPTH)
    if scanner.skip(node.end) != len(text):
        raise scanner.wrong(scanner.skip(node.end), "there is something behind its end")
    return node


@dataclass(frozen=True, slots=True)
class _Scanner:
    text: str

    def skip(self, at: int) -> int:
        """Behind white space and comments."""
        found = _TRIVIA.match(self.text, at)
        return found.end() if found else at

    def wrong(self, at: int, what: str) -> NotJson:
        return NotJson(f"line {self.text.count(chr(10), 0, at) + 1}: {what}")

    def value(self, start: int, at: int, key: str, depth: int) -> Node:
        if not depth:
            raise self.wrong(at, "it is nested too deeply")
        match self.text[at : at + 1]:
            case "{":
                return self.container(start, at, key, depth, is_object=True)
            case "[":
                return self.container(start, at, key, depth, is_object=False)
            case '"':
                value, end = self.string(at)
                return Node(start, at, end, value, key)
        found = _SCALAR.match(self.text, at)
        if not found:
            raise self.wrong(
                at, f"{self.text[at : at + 10]!r} is no value" if at < len(self.text) else "it ends"
            )
        try:
            return Node(start, at, found.end(), json.loads(found.group()), key)
        except ValueError as exc:  # a number with too many digits
            raise self.wrong(at, str(exc)) from exc

    def string(self, at: int) -> tuple[str, int]:
        found = _STRING.match(self.text, at)
        if not found:
            raise self.wrong(at, "a string is missing, or has no end")
        try:
            return str(json.loads(found.group())), found.end()
        except ValueError as exc:
            raise self.wrong(at, "a string is not right") from exc

    def container(self, start: int, at: int, key: str, depth: int, *, is_object: bool) -> Node:
        close = "}" if is_object else "]"
        children: list[Node] = []
        here = self.skip(at + 1)
        while self.text[here : here + 1] != close:
            name, value_at = "", here
            if is_object:
                name, value_at = self.string(here)
                value_at = self.skip(value_at)
                if self.text[value_at : value_at + 1] != ":":
                    raise self.wrong(value_at, "a colon is missing")
                value_at = self.skip(value_at + 1)
            child = self.value(here, value_at, name, depth - 1)
            children.append(child)
            here = self.skip(child.end)
            if self.text[here : here + 1] == ",":
                here = self.skip(here + 1)
            elif self.text[here : here + 1] != close:
                raise self.wrong(here, f"a comma or '{close}' is missing")
        return Node(start, at, here + 1, None, key, tuple(children), is_object)


# Edits. Each takes a node of `parse(text)`, and returns the text afterwards.


@dataclass(frozen=True, slots=True)
class Manner:
    """How the writer of a text breaks and indents lines."""

    newline: str
    unit: str

    @classmethod
    def of(cls, text: str, root: Node) -> "Manner":
        unit = _own_line(text, root.inside[0].start) if root.inside else None
        return cls("\r\n" if "\r\n" in text else "\n", unit or "  ")

    def block(self, opening: str, parts: Sequence[str], closing: str, indent: str) -> str:
        """A container with a line for each part; the first line is not indented."""
        inner = self.newline + indent + self.unit
        return opening + ",".join(inner + part for part in parts) + self.newline + indent + closing


def indent_within(text: str, container: Node, manner: Manner) -> str:
    """Of what is in it, or would be."""
    if container.inside and (known := _own_line(text, container.inside[0].start)) is not None:
        return known
    line = text.rfind("\n", 0, container.at) + 1
    found = re.match(r"[ \t]*", text[line : container.at])
    return (found.group() if found else "") + manner.unit


def added(text: str, container: Node, piece: str, manner: Manner) -> str:
    """With `piece` behind all that is in `container`.

    In an empty one it stands right behind the bracket and one blank: that tells `without` that the container
    is not ours, and what else was in there.
    """
    if not container.inside:
        return f"{text[: container.at + 1]} {piece}{text[container.at + 1 :]}"
    end = behind = container.inside[-1].end
    if _comma(text, end) is None and (remark := _SAME_LINE_COMMENT.match(text, end)):
        behind = remark.end()  # it stays with what it is about
    is_broken = _own_line(text, container.inside[0].start) is not None or "//" in text[end:behind]
    gap = manner.newline + indent_within(text, container, manner) if is_broken else " "
    return f"{text[:end]},{text[end:behind]}{gap}{piece}{text[behind:]}"


def without(text: str, container: Node, child: Node) -> str:
    """Without `child`, its comma, and the white space in front of it."""
    at = container.inside.index(child)
    if at:
        return _cut_behind(text, container.inside[at - 1].end, child)
    comma = _comma(text, child.end)
    rest = text[child.end :] if comma is None else text[child.end : comma] + text[comma + 1 :]
    if len(container.inside) > 1:
        assert comma is not None, "another one follows"
        following = container.inside[1].start
        is_blank = not text[child.end : comma].strip() and not text[comma + 1 : following].strip()
        return text[: child.start] + (text[following:] if is_blank else rest)
    gap, close = text[container.at + 1 : child.start], len(text) - container.end + 1
    if gap == " ":
        return text[: child.start - 1] + rest
    is_blank = not gap.strip() and not rest[:-close].strip()
    return text[: container.at + 1] + rest[-close:] if is_blank else text[: child.start] + rest


def _cut_behind(text: str, end: int, child: Node) -> str:
    """`end` is that of what stands before it."""
    comma = _comma(text, end)
    assert comma is not None, "it follows another one"
    between, rest = text[comma + 1 : child.start], text[child.end :]
    if not between.strip():
        return text[:comma] + rest
    kept = _GAP.sub("", between)
    if kept.endswith("*/") or rest.startswith(("\r", "\n")):
        between = kept  # else what follows would come into the line of a comment
    return text[:comma] + between + rest


def replaced(text: str, node: Node, value: str) -> str:
    return text[: node.at] + value + text[node.end :]


def made(text: str, container: Node) -> bool:
    """Whether a line break is behind its bracket: then it is one that `added` did not find empty."""
    return text[container.at + 1 : container.at + 2] in ("\r", "\n")


def _comma(text: str, end: int) -> int | None:
    """Where the comma is that follows what ends there."""
    at = _Scanner(text).skip(end)
    return at if text[at : at + 1] == "," else None


def _own_line(text: str, at: int) -> str | None:
    """The white space in front of it in its line; None if something else is in front of it there."""
    line = text.rfind("\n", 0, at) + 1
    before = text[line:at]
    return before if line and not before.strip(" \t") else None
