#!/usr/bin/env python3
"""usage: manpages.py DIRECTORY

Writes all manual pages to DIRECTORY. Those in man/ that end in .in have lines such as `@options@`, which
stand for what is written elsewhere: the options in units/musterd.toml, the events in musterd.catalog, the
interfaces in dbus/*.xml.
"""

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
# Units are looked up by their names, too.
ALIASES = {
    "musterd.service.8": "musterd.8",
    "musterd-warden@.service.8": "musterd-warden.8",
    "musterd-notify.service.1": "musterd-notify.1",
}

WIDEST = 24  # columns; what is wider stands on a line of its own

EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
TOLD = {"true": "", "const": ", constant", "invalidates": ", invalidated", "false": ", not signalled"}


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    for file in sorted((ROOT / "packaging/man").iterdir()):
        page = file.read_text()
        if file.suffix == ".in":
            yield file.stem, re.sub(r"^@(\w+)(?: (.+))?@\n", _filled, page, flags=re.MULTILINE)
        else:
            yield file.name, page


def aliases() -> Iterator[tuple[str, str]]:
    """Name and text of each page that leads to another one."""
    for name, page in ALIASES.items():
        yield name, f".so man{page[-1]}/{page}\n"


def _filled(match: re.Match[str]) -> str:
    what, name = match.groups()
    match what:
        case "options":
            lines = options((ROOT / "units/musterd.toml").read_text())
        case "events":
            lines = events((ROOT / "packaging/musterd.catalog").read_text())
        case "interface":
            lines = interface(ROOT / f"dbus/{name}.xml")
        case _:
            raise ValueError(f"'{match[0].strip()}' stands for nothing")
    return "".join(f"{line}\n" for line in lines)


def options(example: str) -> Iterator[str]:
    """From the example file, where each option is a line that is commented out, below its explanation."""
    explanation = ""
    for line in example.splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line):
            yield f".SS [{text(header[1])}]"
        elif option := re.fullmatch(r"#([a-z-]+) = (.+)", line):
            yield from (".TP", rf"\fB{text(option[1])}\fR = {text(option[2])}", text(explanation))
        explanation = line.removeprefix("# ")


def events(catalog: str) -> Iterator[str]:
    for match in re.finditer(r"^-- ([0-9a-f]{32})\nSubject: (.+)$", catalog, re.MULTILINE):
        yield from (".TP", match[1], text(f"{match[2]}."), ".PD 0")
    yield ".PD"


# The interface files. Each member has a comment right before it, which says all of it: `test_interfaces`.


def interface(file: Path) -> Iterator[str]:
    builder = ElementTree.TreeBuilder(insert_comments=True)
    parser = ElementTree.XMLParser(target=builder)  # noqa: S314 - our own files
    introduction, shown = ElementTree.parse(file, parser).getroot()  # noqa: S314
    yield f".SH {text(file.stem.rpartition('.')[2]).upper()}"
    yield rf"\fB{text(file.stem)}\fR:"
    yield from prose(introduction.text or "", ".PP")
    members = list(_members(shown))
    for kind, title in (("method", "Methods"), ("property", "Properties"), ("signal", "Signals")):
        those = [(member, comment) for member, comment in members if member.tag == kind]
        yield from [f".SS {title}"] if those else []
        for member, comment in those:
            yield from (".TP", _heading(member), *prose(comment, ".IP"))


def _members(shown: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str]]:
    comment = ""  # its tag is no text, but the function that makes it
    for child in shown:
        if isinstance(child.tag, str):
            yield child, comment
        else:
            comment = child.text or ""


def _heading(member: ElementTree.Element) -> str:
    name = rf"\fB{member.get('name')}\fR"
    if member.tag == "property":
        notes = {note.get("name"): note.get("value", "") for note in member.findall("annotation")}
        return f"{name} ({member.get('type')}{TOLD[notes[EMITS]]})"
    given, returned = [], []
    for arg in member.findall("arg"):
        shown = rf"{arg.get('type')}\ \fI{arg.get('name')}\fR"
        (returned if arg.get("direction") == "out" else given).append(shown)
    result = rf" \(-> {', '.join(returned)}" if returned else ""
    return f"{name}({', '.join(given)}){result}"


def prose(comment: str, paragraph: str) -> Iterator[str]:
    """What a comment says, as roff; the first paragraph follows what stands before it."""
    first = True
    for font, blocks in groupby(_blocks(comment), key=lambda block: block[0][:3]):
        if font:
            entries = list(blocks)
            width = min(WIDEST, max(len(re.sub(r"\\f.|\\", "", term)) for term, _ in entries) + 2)
            yield from (".RS", ".PD 0") if first else (".RS",)  # no space between, but after a paragraph
            for term, said in entries:
                yield from (f".TP {width}", term, text(said) or r"\&", ".PD 0")
            yield from (".PD", ".RE")
        else:
            for _, said in blocks:
                yield from (text(said),) if first else (paragraph, text(said))
                first = False
        first = False


def _blocks(comment: str) -> Iterator[tuple[str, str]]:
    """Term and text, of arguments (`@name: ...`), keys (`"name"  type  ...`) and paragraphs (no term)."""
    blocks = [["", ""]]
    for line in map(str.strip, comment.partition(":")[2].splitlines()):
        if argument := re.match(r"@(\w+): (.*)", line):
            blocks.append([rf"\fI{text(argument[1])}\fR", argument[2]])
        elif key := re.match(r'"([\w-]+)" +(\S+) *(.*)', line):
            blocks.append([rf"\fB{text(key[1])}\fR ({key[2]})", key[3]])
        elif not line or line.startswith("Errors: "):
            blocks.append(["", line])
        else:
            blocks[-1][1] += f" {line}"
    yield from ((term, said.strip()) for term, said in blocks if term or said)


def text(plain: str) -> str:
    r"""Nothing in it means anything to roff. A \- can be pasted into a shell, a - may become a hyphen."""
    escaped = plain.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, page in (*pages(), *aliases()):
        Path(sys.argv[1], name).write_text(page)
