"""Whose signals are taken, while the owner of a name changes."""

from typing import Any

import pytest
from dbus_fast import Message, MessageType

from musterd.bus.signals import BUS, BUS_PATH, Match, Signal, Subscription

NAME = "org.example.Name"


def owner_changed(new: str) -> Message:
    return Message(
        message_type=MessageType.SIGNAL,
        sender=BUS,
        path=BUS_PATH,
        interface=BUS,
        member="NameOwnerChanged",
        signature="sss",
        body=[NAME, ":1.1", new],
    )


def said_by(sender: str) -> Message:
    return Message(
        message_type=MessageType.SIGNAL, sender=sender, path="/", interface="org.example.I", member="Said"
    )


class Bus:
    """Answers who owns the name; a change comes before the answer, or before the answer is looked at."""

    def __init__(self, subscription: Subscription, answer: str, change: str | None) -> None:
        self._subscription, self._answer, self._change = subscription, answer, change

    async def __call__(self, member: str, signature: str, *args: object) -> tuple[Any, ...]:
        if member != "GetNameOwner":
            return ()
        if self._change is not None:
            self._subscription.deliver(owner_changed(self._change))
        return (self._answer,)


@pytest.mark.parametrize(
    ("answer", "change", "heard"),
    [
        (":1.1", None, [":1.1"]),
        (":1.1", ":1.2", [":1.2"]),  # the answer is older
        (":1.2", ":1.2", [":1.2"]),
        (":1.1", "", []),  # its owner has gone since
    ],
)
async def test_a_change_of_owner_wins_over_the_answer_who_it_is(
    answer: str, change: str | None, heard: list[str]
) -> None:
    signals: list[Signal] = []
    subscription = Subscription(Match(NAME, "org.example.I"), signals.append)
    await subscription.install(Bus(subscription, answer, change))
    for sender in (":1.1", ":1.2"):
        subscription.deliver(said_by(sender))
    assert [signal.sender for signal in signals] == heard


async def test_a_change_of_before_a_reconnect_does_not_count() -> None:
    signals: list[Signal] = []
    subscription = Subscription(Match(NAME, "org.example.I"), signals.append)
    await subscription.install(Bus(subscription, ":1.1", ":1.2"))
    await subscription.install(Bus(subscription, ":1.1", None))
    subscription.deliver(said_by(":1.1"))
    assert len(signals) == 1
