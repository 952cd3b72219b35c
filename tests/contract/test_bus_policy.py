"""The bus policy: read as text, and enforced by a real dbus-daemon."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from helpers.daemon import Daemon
from helpers.policed_bus import POLICY, PolicedBus
from musterd.bus.contract import Contract
from musterd.ports import Action

DBUS = Path(__file__).parents[2] / "dbus"
NAME = "org.musterd.Muster1"
ROOT = "/org/musterd/Muster1"
STANDARD = {
    ("org.freedesktop.DBus.Peer", "Ping"),
    ("org.freedesktop.DBus.Peer", "GetMachineId"),
    ("org.freedesktop.DBus.Introspectable", "Introspect"),
    ("org.freedesktop.DBus.Properties", "Get"),
    ("org.freedesktop.DBus.Properties", "GetAll"),
    ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
}


def default_rules() -> list[ElementTree.Element]:
    (policy,) = [p for p in ElementTree.parse(POLICY).iter("policy") if p.get("context") == "default"]
    return list(policy)


def test_exactly_the_methods_of_the_contract_are_let_through() -> None:
    allowed = [(r.get("send_interface"), r.get("send_member")) for r in default_rules() if r.tag == "allow"]
    ours = {
        (interface.name, method)
        for interface in Contract.load().interfaces.values()
        for method in interface.methods
        if interface.name.startswith(NAME)
    }
    assert len(allowed) == len(set(allowed))
    assert set(allowed) == ours | STANDARD


def test_every_rule_names_whom_it_is_about() -> None:
    assert {rule.get("send_destination") for rule in default_rules()} == {NAME}


def test_only_root_and_musterd_own_the_name() -> None:
    owners = {
        policy.get("user")
        for policy in ElementTree.parse(POLICY).iter("policy")
        for rule in policy
        if rule.get("own")
    }
    assert owners == {"root", "musterd"}


def test_only_root_may_set_a_property() -> None:
    setters = {
        policy.get("user")
        for policy in ElementTree.parse(POLICY).iter("policy")
        for rule in policy
        if rule.get("send_member") == "Set"
    }
    assert setters == {"root"}


def test_activation_goes_through_systemd() -> None:
    text = (DBUS / f"{NAME}.service").read_text()
    assert f"Name={NAME}\n" in text
    assert "Exec=/bin/false\n" in text
    assert f"SystemdService=dbus-{NAME}.service\n" in text


def test_polkit_knows_the_actions_that_we_ask_about_and_lets_us_ask() -> None:
    actions = list(ElementTree.parse(DBUS / "org.musterd.muster1.policy").iter("action"))
    assert {action.get("id") for action in actions} == {Action.SET_MODE, Action.MANAGE_OTHERS}
    for action in actions:
        notes = {note.get("key"): note.text for note in action.findall("annotate")}
        assert notes == {"org.freedesktop.policykit.owner": "unix-user:musterd"}
        defaults = action.find("defaults")
        assert defaults is not None
        assert {(answer.text or "").removesuffix("_keep") for answer in defaults} == {"auth_admin"}
        assert len(defaults) == 3


# Enforced: a bus as strict as the system's, our policy on top, and the real daemon behind it.


@pytest.fixture(scope="module")
def policed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    work = tmp_path_factory.mktemp("policed")
    with (
        PolicedBus(work / "bus", root=os.getuid(), musterd=os.getuid()) as bus,
        Daemon(work, bus, "[discovery]\nenabled = false\n"),
    ):
        yield bus.address


async def answer(address: str, message: Message) -> str:
    """The name of the error that comes back; empty for none."""
    bus = await MessageBus(address, negotiate_unix_fd=True).connect()
    try:
        reply = await bus.call(message)
        assert reply is not None
        return reply.error_name or ""
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # of the library


DENIED = "org.freedesktop.DBus.Error.AccessDenied"


@pytest.mark.parametrize(
    ("interface", "member", "signature", "body"),
    [
        (f"{NAME}.Manager", "ListSessions", "", []),
        (f"{NAME}.Reaper", "ListVerdicts", "", []),
        ("org.freedesktop.DBus.Peer", "Ping", "", []),
        ("org.freedesktop.DBus.Properties", "GetAll", "s", [f"{NAME}.Reaper"]),
        ("org.freedesktop.DBus.Introspectable", "Introspect", "", []),
    ],
)
async def test_what_is_listed_is_answered(
    policed: str, interface: str, member: str, signature: str, body: list[object]
) -> None:
    assert (
        await answer(policed, Message(NAME, ROOT, interface, member, signature=signature, body=body)) == ""
    )


@pytest.mark.parametrize(
    ("interface", "member"),
    [
        (f"{NAME}.Manager", "Nonsense"),
        (f"{NAME}.Nonsense", "ListSessions"),
        ("org.freedesktop.DBus.Peer", "Nonsense"),
        (None, "ListSessions"),
    ],
)
async def test_what_is_not_listed_never_reaches_the_daemon(
    policed: str, interface: str | None, member: str
) -> None:
    assert await answer(policed, Message(NAME, ROOT, interface, member)) == DENIED


async def test_fds_never_reach_the_daemon(policed: str) -> None:
    ping = Message(NAME, ROOT, "org.freedesktop.DBus.Peer", "Ping", signature="h", body=[0], unix_fds=[0])
    assert await answer(policed, ping) == DENIED


async def test_signals_to_it_alone_never_reach_the_daemon(policed: str) -> None:
    bus = await MessageBus(policed).connect()
    refused: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def hear(message: Message) -> None:
        if message.message_type is MessageType.ERROR and not refused.done():
            refused.set_result(message.error_name)

    bus.add_message_handler(hear)
    try:
        signal = Message(NAME, ROOT, f"{NAME}.Manager", "SessionNew", message_type=MessageType.SIGNAL)
        await bus.send(signal)
        async with asyncio.timeout(60):
            assert await refused == DENIED
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # of the library
