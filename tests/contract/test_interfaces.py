"""The interface files: every member explained, every property annotated, all served as written."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from helpers import authorization
from helpers.installation import Installation, some_process
from musterd.core.errors import MusterError

NAME = "org.musterd.Muster1"
DBUS = Path(__file__).parents[2] / "dbus"
DAEMON = Path(__file__).parents[2] / "daemon"
FILES = sorted(DBUS.glob("*.xml"))
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"

PLACES = {"org.freedesktop.LogControl1": "/org/freedesktop/LogControl1"}

# What any user of the machine may read off the wire.
PRIVATE = {"CWD", "Title", "Terminal", "AgentSessionId", "Transcript", "ResumeCommand", "LastError"}


def documented_members(file: Path) -> Iterator[tuple[ElementTree.Element, str]]:
    """Each member, with the comment that stands right before it."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    (interface,) = ElementTree.parse(file, parser).iter("interface")
    comment = ""  # its tag is no text, but the function that makes it
    for child in interface:
        if not isinstance(child.tag, str):
            comment = child.text or ""
        else:
            yield child, comment
            comment = ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_file_is_named_after_its_interface(file: Path) -> None:
    (interface,) = ElementTree.parse(file).iter("interface")
    assert interface.get("name") == file.stem


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_member_and_argument_is_explained(file: Path) -> None:
    for member, comment in documented_members(file):
        assert comment.strip().startswith(f"{member.get('name')}:"), member.get("name")
        for arg in member.findall("arg"):
            assert re.fullmatch("[a-z_]+", arg.get("name", "")), member.get("name")
            assert f"@{arg.get('name')}: " in comment, f"{member.get('name')}: {arg.get('name')}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_property_says_how_its_changes_are_told(file: Path) -> None:
    for member, _ in documented_members(file):
        if member.tag == "property":
            told = [note.get("value") for note in member.findall("annotation") if note.get("name") == EMITS]
            assert len(told) == 1, member.get("name")
            assert told[0] in ("true", "invalidates", "const", "false")
            if member.get("name") in PRIVATE:
                assert told == ["invalidates"], member.get("name")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_daemon_serves_what_is_written(musterd: Installation, file: Path) -> None:
    with some_process() as process:
        session_id = musterd.register(process)
        path = PLACES.get(file.stem, "/org/musterd/Muster1")
        if file.stem.endswith(".Session"):
            path += f"/session/{session_id}"
        command = [
            "busctl",
            f"--address={musterd.bus}",
            "--xml-interface",
            "introspect",
            NAME,
            path,
        ]
        shown = ElementTree.fromstring(subprocess.check_output(command))
        musterd.ctl("release", session_id)
    (served,) = [i for i in shown.iter("interface") if i.get("name") == file.stem]
    (written,) = ElementTree.parse(file).iter("interface")
    assert list(_facts(served)) == list(_facts(written))


def test_every_error_is_named() -> None:
    text = (DBUS / f"{NAME}.Manager.xml").read_text()
    (named,) = re.findall(rf"Errors are named {NAME}.Error.(.*?);", text, re.DOTALL)
    assert set(re.findall(r"\b[A-Z]\w+", named)) == {
        error.__name__ for error in MusterError.__subclasses__()
    }


def test_every_error_that_is_named_is_raised_somewhere() -> None:
    code = "".join(file.read_text() for file in DAEMON.rglob("*.py"))
    for error in MusterError.__subclasses__():
        assert re.search(rf"raise {error.__name__}\b", code), error.__name__


def test_for_every_member_the_table_of_rights_says_who_may() -> None:
    interfaces = authorization.CONTRACT.interfaces.values()
    methods = {f"{interface.name}.{method}" for interface in interfaces for method in interface.methods}
    assert {row.full_name for row in authorization.ROWS} == methods
    assert authorization.PROPERTIES.keys() == {i.name for i in interfaces if i.properties}
    writable = {
        f"{interface.name}.{prop.name}"
        for interface in interfaces
        for prop in interface.properties.values()
        if prop.access.writable()
    }
    assert authorization.WRITABLE.keys() == writable
    names = [row.name for row in authorization.ROWS]
    assert len(names) == len(set(names))


def _facts(interface: ElementTree.Element) -> Iterator[tuple[object, ...]]:
    """Members in order of their kind, with all that a client relies on."""
    for kind in ("method", "signal", "property"):
        for member in interface.findall(kind):
            args = [
                (a.get("name"), a.get("type"), kind == "signal" or a.get("direction"))
                for a in member.findall("arg")
            ]
            notes = {(note.get("name"), note.get("value")) for note in member.findall("annotation")}
            yield (
                kind,
                member.get("name"),
                member.get("type"),
                member.get("access"),
                args,
                sorted(notes, key=str),
            )
