"""What a caller may ask, and what it hears when it asks wrongly."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from xml.etree import ElementTree

import pytest
from dbus_fast import MessageFlag, Variant

from helpers.bus_service import (
    NAME,
    ROOT,
    TEST,
    THING,
    Client,
    Heard,
    Service,
    call,
    client,
    hang_up,
    message,
    signal_to,
)
from helpers.private_bus import PrivateBus
from musterd.bus.errors import CallerGone, RemoteError
from musterd.bus.names import INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES

OURS = "org.musterd.Muster1.Error."
STANDARD = "org.freedesktop.DBus.Error."
THING_ONE = f"{ROOT}/thing/one"


async def refusal(link: Client, member: str, signature: str = "", *args: object, **where: str) -> str:
    with pytest.raises(RemoteError) as caught:
        await call(link, member, signature, *args, **where)
    return caught.value.name


@pytest.mark.parametrize(
    ("case", "question", "where", "name"),
    [
        ("unknown object", ("Echo", "s", "x"), {"path": "/nowhere"}, STANDARD + "UnknownObject"),
        (
            "unknown interface",
            ("Echo", "s", "x"),
            {"interface": "org.example.No"},
            STANDARD + "UnknownInterface",
        ),
        (
            "interface of another object",
            ("Echo", "s", "x"),
            {"path": THING_ONE},
            STANDARD + "UnknownInterface",
        ),
        ("unknown method", ("Nope",), {}, STANDARD + "UnknownMethod"),
        ("wrong signature", ("Echo", "u", 1), {}, OURS + "InvalidArgs"),
        ("too many arguments", ("Echo", "ss", "a", "b"), {}, OURS + "InvalidArgs"),
        ("string too long", ("Echo", "s", "x" * 4097), {}, OURS + "InvalidArgs"),
        ("string too long in bytes", ("Echo", "s", "ä" * 2049), {}, OURS + "InvalidArgs"),
        ("long string too long", ("EchoLong", "s", "x" * 262_145), {}, OURS + "InvalidArgs"),
        (
            "string too long in a variant",
            ("EchoDict", "a{sv}", {"a": Variant("as", ["x" * 5000])}),
            {},
            OURS + "InvalidArgs",
        ),
        (
            "too many short strings",
            ("EchoDict", "a{sv}", {"a": Variant("as", [""] * 20_000)}),
            {},
            OURS + "InvalidArgs",
        ),
        ("reply too large", ("Blob", "u", 262_144), {}, OURS + "LimitReached"),
        ("result of the wrong type", ("Wrong",), {}, OURS + "Failed"),
        ("refusal of ours", ("Raise", "s", "NoSuchSession"), {}, OURS + "NoSuchSession"),
        ("another one", ("Raise", "s", "NotResumable"), {}, OURS + "NotResumable"),
        ("a mistake of ours", ("Raise", "s", "KeyError"), {}, OURS + "Failed"),
    ],
)
async def test_wrong_call_gets_the_error_that_says_why(
    private_bus: PrivateBus,
    caplog: pytest.LogCaptureFixture,
    case: str,
    question: tuple[object, ...],
    where: dict[str, str],
    name: str,
) -> None:
    caplog.set_level(logging.CRITICAL)
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        member, *rest = question
        signature, *args = rest or [""]
        assert await refusal(link, str(member), str(signature), *args, **where) == name
        assert await call(link, "Echo", "s", "and on") == ("and on",)


async def test_what_fits_the_limits_is_taken(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        assert await call(link, "Echo", "s", "x" * 4096) == ("x" * 4096,)
        assert await call(link, "EchoLong", "s", "x" * 262_144) == (262_144,)
        assert len((await call(link, "Blob", "u", 260_000))[0]) == 260_000


async def test_mistake_of_ours_tells_the_caller_nothing_and_the_log_everything(
    private_bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        with pytest.raises(RemoteError) as caught:
            await call(link, "Raise", "s", "KeyError")
        assert caught.value.text == "Internal error; the log of musterd says more."
        assert "KeyError: '/secret/path'" in caplog.text


async def test_65th_call_in_flight_is_refused(private_bus: PrivateBus) -> None:
    service = Service()
    service.release.clear()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        held = [asyncio.create_task(call(link, "Hold")) for _ in range(64)]
        for _ in held:
            await service.held.get()
        assert service.front.in_flight(link.unique_name) == 64
        assert await refusal(link, "Hold") == OURS + "LimitReached"
        async with client(private_bus.address) as other:
            assert await call(other, "Echo", "s", "not my quota") == ("not my quota",)

        service.release.set()
        assert await asyncio.gather(*held) == [()] * 64
        assert await call(link, "Echo", "s", "again") == ("again",)
        assert service.front.in_flight(link.unique_name) <= 1


async def test_a_user_has_its_own_number_on_all_of_its_connections(private_bus: PrivateBus) -> None:
    service = Service()
    users: dict[str, int] = {}
    service.front.uid_of = lambda sender: _found(users, sender)
    service.release.clear()
    async with service.on(private_bus.address), AsyncExitStack() as stack:
        links = [await stack.enter_async_context(client(private_bus.address)) for _ in range(6)]
        users.update({link.unique_name: 1000 for link in links[:5]} | {links[5].unique_name: 1001})
        held = [asyncio.create_task(call(link, "Hold")) for link in links[:4] for _ in range(64)]
        for _ in held:
            await service.held.get()
        assert service.front.in_flight(1000) == 256
        assert await refusal(links[4], "Hold") == OURS + "LimitReached"
        assert await call(links[5], "Echo", "s", "not my user") == ("not my user",)

        service.release.set()
        assert await asyncio.gather(*held) == [()] * 256
        assert await call(links[4], "Echo", "s", "again") == ("again",)
        assert service.front.in_flight(1000) <= 1


async def test_long_calls_of_a_user_have_a_bound_on_all_of_its_connections(private_bus: PrivateBus) -> None:
    service = Service()
    service.release.clear()
    users: dict[str, int] = {}
    service.front.uid_of = lambda sender: _found(users, sender)
    long = ("EchoLong", "s", "x" * 240 * 1024)
    async with service.on(private_bus.address), AsyncExitStack() as stack:
        links = [await stack.enter_async_context(client(private_bus.address)) for _ in range(3)]
        users.update({link.unique_name: 1000 for link in links[:2]} | {links[2].unique_name: 1001})
        held = [asyncio.create_task(call(links[0], *long)) for _ in range(17)]  # of 4096 KiB
        for _ in held:
            await service.held.get()
        assert await refusal(links[1], *long) == OURS + "LimitReached"
        assert await call(links[1], "Echo", "s", "short") == ("short",)
        held.append(asyncio.create_task(call(links[2], *long)))
        await service.held.get()

        service.release.set()
        assert await asyncio.gather(*held) == [(240 * 1024,)] * 18
        assert await call(links[1], *long) == (240 * 1024,)


async def test_a_call_that_had_to_wait_says_when_it_came(private_bus: PrivateBus) -> None:
    service = Service()
    served: list[float] = []

    async def wait(_: str) -> int:
        await asyncio.sleep(0)
        served.append(asyncio.get_running_loop().time())
        return 1000

    service.front.uid_of = wait
    async with service.on(private_bus.address), client(private_bus.address) as link:
        began = asyncio.get_running_loop().time()
        await call(link, "Hold")
        assert began < (await service.held.get()).arrived < served[-1]


async def test_a_caller_whose_user_is_not_known_is_served_all_the_same(private_bus: PrivateBus) -> None:
    service = Service()
    service.front.uid_of = lambda sender: _found({}, sender)
    async with service.on(private_bus.address), client(private_bus.address) as link:
        assert await call(link, "Echo", "s", "hello") == ("hello",)


async def _found(users: Mapping[str, int], sender: str) -> int:
    if sender not in users:
        raise CallerGone(f"'{sender}' left the bus")
    return users[sender]


async def test_handler_knows_its_caller_after_an_await(private_bus: PrivateBus) -> None:
    service = Service()
    async with (
        service.on(private_bus.address),
        client(private_bus.address) as one,
        client(private_bus.address) as two,
    ):
        names = tuple(await asyncio.gather(*(call(link, "WhoAmI") for link in (one, two, one))))
        assert names == ((one.unique_name,), (two.unique_name,), (one.unique_name,))


async def test_stray_fds_are_closed(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        before = len(os.listdir("/proc/self/fd"))
        null = os.open(os.devnull, os.O_RDONLY)
        for _ in range(50):
            await link.call(message("Echo", "s", "x", fds=[null] * 4), within=60)
            silent = message("Nope", fds=[null] * 4)
            silent.flags = MessageFlag.NO_REPLY_EXPECTED
            await link.send(silent)
            await link.send(signal_to(NAME, 1, [null] * 4))
        os.close(null)
        assert await call(link, "Echo", "s", "all of it was seen") == ("all of it was seen",)
        assert len(os.listdir("/proc/self/fd")) == before


async def test_fd_in_a_reply_arrives_and_is_not_kept(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        before = len(os.listdir("/proc/self/fd"))
        reply = await link.call(message("GiveFd"), within=60, takes_fds=True)
        assert reply.body == (0,)
        os.close(reply.fds[0])
        await hang_up(service.pipes[0])
        await call(link, "GiveFd")  # nobody takes this one
        await hang_up(service.pipes[1])
        assert len(os.listdir("/proc/self/fd")) == before + 2


async def test_fd_of_an_argument_can_be_used_and_is_closed(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        before = len(os.listdir("/proc/self/fd"))
        ours, theirs = os.pipe()
        os.write(theirs, b"hello")
        reply = await link.call(message("TakeFd", "h", 0, fds=[ours]), within=60)
        os.close(ours)
        os.close(theirs)
        assert reply.body == ("hello",)
        assert len(os.listdir("/proc/self/fd")) == before


async def test_call_that_wants_no_reply_gets_none(private_bus: PrivateBus) -> None:
    service = Service()
    heard = Heard()
    async with service.on(private_bus.address), client(private_bus.address, heard) as link:
        for member in ("GiveFd", "Nope"):
            silent = message(member)
            silent.flags = MessageFlag.NO_REPLY_EXPECTED
            await link.send(silent)
        assert await call(link, "Echo", "s", "in order") == ("in order",)
        await hang_up(service.pipes[0])


async def test_properties_are_typed_by_the_contract(private_bus: PrivateBus) -> None:
    service = Service()
    where = {"path": THING_ONE, "interface": PROPERTIES}
    async with service.on(private_bus.address), client(private_bus.address) as link:
        assert await call(link, "Get", "ss", THING, "Size", **where) == (Variant("u", 3),)
        (everything,) = await call(link, "GetAll", "s", THING, **where)
        assert everything == {"Name": Variant("s", "one"), "Size": Variant("u", 3), "Note": Variant("s", "")}
        await call(link, "Set", "ssv", THING, "Note", Variant("s", "mine"), **where)
        assert service.things.notes == {"one": "mine"}
        assert await call(link, "GetAll", "s", PEER, **where) == ({},)

        read_only = await refusal(link, "Set", "ssv", THING, "Name", Variant("s", "x"), **where)
        wrong_type = await refusal(link, "Set", "ssv", THING, "Note", Variant("u", 1), **where)
        unknown = await refusal(link, "Get", "ss", THING, "Nope", **where)
        foreign = await refusal(link, "Get", "ss", TEST, "Name", **where)
        assert [read_only, wrong_type, unknown, foreign] == [
            STANDARD + "PropertyReadOnly",
            OURS + "InvalidArgs",
            STANDARD + "UnknownProperty",
            STANDARD + "UnknownInterface",
        ]


async def test_each_caller_sees_only_its_own_objects(private_bus: PrivateBus) -> None:
    service = Service()
    secret = f"{ROOT}/thing/secret"
    async with (
        service.on(private_bus.address),
        client(private_bus.address) as friend,
        client(private_bus.address) as stranger,
    ):
        service.things.friend = friend.unique_name
        (seen,) = await call(friend, "GetManagedObjects", interface=OBJECT_MANAGER)
        assert sorted(seen) == [f"{ROOT}/thing/{name}" for name in ("one", "secret", "two")]
        (seen,) = await call(stranger, "GetManagedObjects", interface=OBJECT_MANAGER)
        assert sorted(seen) == [f"{ROOT}/thing/{name}" for name in ("one", "two")]
        name = await refusal(stranger, "GetAll", "s", THING, path=secret, interface=PROPERTIES)
        assert name == STANDARD + "UnknownObject"
        (xml,) = await call(stranger, "Introspect", path=f"{ROOT}/thing", interface=INTROSPECTABLE)
        assert [node.get("name") for node in ElementTree.fromstring(xml)] == ["one", "two"]


async def test_managed_objects_beyond_one_answer_are_refused(private_bus: PrivateBus) -> None:
    service = Service()
    service.things.names = [f"thing{number}" for number in range(4000)]
    async with service.on(private_bus.address), client(private_bus.address) as link:
        name = await refusal(link, "GetManagedObjects", interface=OBJECT_MANAGER)
        assert name == OURS + "LimitReached"


async def test_introspection_is_the_contract_without_prose(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        (xml,) = await call(link, "Introspect", interface=INTROSPECTABLE)
        names = [child.get("name") for child in ElementTree.fromstring(xml)]
        assert names == [PEER, INTROSPECTABLE, PROPERTIES, TEST, OBJECT_MANAGER, "thing"]
        assert "DocString" not in xml
        (top,) = await call(link, "Introspect", path="/", interface=INTROSPECTABLE)
        assert [node.get("name") for node in ElementTree.fromstring(top)] == ["org"]


async def test_peer_answers_on_every_path(private_bus: PrivateBus) -> None:
    service = Service()
    async with service.on(private_bus.address), client(private_bus.address) as link:
        assert await call(link, "Ping", path="/any/where", interface=PEER) == ()
        (machine,) = await call(link, "GetMachineId", interface=PEER)
        assert len(machine) == 32


async def test_stopping_tells_those_who_still_wait(private_bus: PrivateBus) -> None:
    service = Service()
    service.release.clear()
    async with client(private_bus.address) as link:
        async with service.on(private_bus.address):
            waiting = asyncio.create_task(refusal(link, "Hold"))
            await service.held.get()
            for _ in range(100):
                link.send(message("Hold"))  # some of these come while we stop
        assert await waiting == OURS + "Failed"


def test_handlers_must_be_those_of_the_contract() -> None:
    front = Service().front
    with pytest.raises(ValueError, match="Extra"):
        front.register(THING, {"Extra": Service().Echo})
