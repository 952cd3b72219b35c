"""Our hooks in the text of an agent's settings: which are there, in, and out again. Nothing else changes."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from musterd.agents.hooks import Installed

from .jsontext import Manner, Node, NotJson, added, indent_within, made, parse, replaced, without

NEW_FILE = "{}\n"

Handler = Mapping[str, object]  # as it stands in the file


def handler(command: str, timeout: int) -> Handler:
    return {"type": "command", "command": command, "timeout": timeout}


def is_ours(command: str) -> bool:
    """Whether it is `musterd-hook ...`, or `musterctl hook ...`, wherever these are installed."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    names = [words[0].rpartition("/")[2], *words[1:2]] if words else []
    return names[:1] == ["musterd-hook"] or names == ["musterctl", "hook"]


@dataclass(frozen=True, slots=True)
class _Place:
    """One of our handlers, and all that is around it, from the outside in."""

    event: Node
    group: Node
    handlers: Node
    handler: Node

    @property
    def is_alone(self) -> bool:
        return len(self.handlers.inside) == 1


def found(text: str) -> list[Installed]:
    """Ours, in the order of the file. NotJson if it is none, or not of the shape that hooks have."""
    return [
        Installed(
            place.event.key,
            place.event.inside.index(place.group),
            place.handlers.inside.index(place.handler),
            _matcher(place.group),
            _mapping(place.handler),
        )
        for place in _ours(parse(text))
    ]


def installed(text: str | None, wanted: Mapping[str, Handler]) -> str:
    """With exactly these hooks of ours, by event; `text` is None where there is no file.

    What is right already is not touched, and nothing of others changes its place: Codex trusts a hook by its
    number.
    """
    is_new = text is None
    text = NEW_FILE if text is None else text
    while (after := _one_put_right(text, wanted)) != text:
        text = after
    for event, entry in wanted.items():
        root = parse(text)
        if not any(place.event.key == event for place in _ours(root)):
            text = _with_event(text, root, event, entry, is_new=is_new)
    return text


def uninstalled(text: str) -> str | None:
    """Without any hook of ours; None if nothing is left of a file that we made."""
    while places := list(_ours(root := parse(text))):
        text, is_empty = _without(text, root, places[-1])  # what came last goes first
        if is_empty:
            return None
    return text


def _one_put_right(text: str, wanted: Mapping[str, Handler]) -> str:
    """One step: a hook of ours that is not wanted goes, one that differs is replaced where it stands."""
    root, seen = parse(text), set()
    for place in _ours(root):
        event = place.event.key
        if event not in wanted or event in seen:
            return _without(text, root, place)[0] or NEW_FILE
        if _mapping(place.handler) != wanted[event]:
            return replaced(text, place.handler, _line(wanted[event]))
        if place.is_alone and _matcher(place.group) is not None:
            return replaced(text, place.group, _group(wanted[event]))
        seen.add(event)
    return text


def _with_event(text: str, root: Node, event: str, entry: Handler, *, is_new: bool) -> str:
    manner = Manner.of(text, root)
    hooks = root.named("hooks")
    if hooks is None:
        indent = indent_within(text, root, manner)
        first = _member(event, entry, manner, indent + manner.unit)
        member = f'"hooks": {manner.block("{", [first], "}", indent)}'
        if is_new:
            return manner.block("{", [member], "}", "") + manner.newline
        return added(text, root, member, manner)
    groups = hooks.named(event)
    if groups is None:
        return added(text, hooks, _member(event, entry, manner, indent_within(text, hooks, manner)), manner)
    if not groups.is_array:
        raise NotJson(f"its hooks for '{event}' are no list")
    return added(text, groups, _group(entry), manner)


def _member(event: str, entry: Handler, manner: Manner, indent: str) -> str:
    return f"{json.dumps(event)}: {manner.block('[', [_group(entry)], ']', indent)}"


def _group(entry: Handler) -> str:
    return f'{{"hooks": [{_line(entry)}]}}'


def _line(entry: Handler) -> str:
    return json.dumps(entry, ensure_ascii=False)


def _without(text: str, root: Node, place: _Place) -> tuple[str, bool]:
    """Take it out, with what we put around it -> (the text, whether nothing is left of a file of ours)."""
    if not place.is_alone:
        return without(text, place.handlers, place.handler), False
    hooks = root.named("hooks")
    assert hooks is not None
    container, child = place.event, place.group
    for around in (hooks, root):
        if len(container.inside) > 1 or not made(text, container):
            break
        container, child = around, container
    after = without(text, container, child)
    return after, container is root and made(text, root) and after == NEW_FILE


def _ours(root: Node) -> Iterator[_Place]:
    if not root.is_object:
        raise NotJson("it is no object")
    hooks = root.named("hooks")
    if hooks is None:
        return
    if not hooks.is_object:
        raise NotJson("its 'hooks' are no object")
    for event in hooks.inside:
        for group in event.inside if event.is_array else ():
            handlers = group.named("hooks")
            if handlers is None or not handlers.is_array:
                continue
            for entry in handlers.inside:
                if entry.is_object and is_ours(str(_mapping(entry).get("command", ""))):
                    yield _Place(event, group, handlers, entry)


def _matcher(group: Node) -> str | None:
    node = group.named("matcher")
    return str(node.value) if node else None


def _mapping(node: Node) -> Handler:
    plain = node.plain
    return plain if isinstance(plain, dict) else {}
