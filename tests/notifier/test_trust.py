"""Who is believed, and what text may do."""

import pytest
from dbus_fast import Message

from helpers.fake_musterd import FakeMusterd, fake_musterd
from musterd.bus.driver import ask
from musterd.bus.link import Link
from musterd.bus.names import REAPER, ROOT
from notifier.conftest import Stage

NOTIFICATIONS = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"
HOSTILE = "<b>a</b>&amp;\x1b[31m\u202egnp\u202c\nb" + "e" + "\u0301" * 50 + "x" * 5000


async def say_to_all(link: Link, path: str, interface: str, member: str, *args: object) -> None:
    """Broadcast, and straight to each connection; returns when the bus has passed them on."""
    signature = {"SessionReaped": "stb", "ActionInvoked": "us"}[member]
    (names,) = await ask(link, "ListNames")
    for name in (None, *(name for name in names if name.startswith(":"))):
        signal = Message.new_signal(path, interface, member, signature, list(args))
        signal.destination = name
        link.send(signal)
    await ask(link, "GetId")


async def test_signals_of_musterd_are_believed_of_the_owner_of_its_name_only(stage: Stage) -> None:
    async with stage.play() as scene, fake_musterd(stage.bus.address, name="") as forger:
        scene.musterd.add("a1")
        scene.musterd.add("b2", title="really")
        await say_to_all(forger.link, ROOT, REAPER, "SessionReaped", "a1", 0, False)
        scene.musterd.reaped("b2")
        assert (await scene.dunst.shown()).summary == "“really” was ended"


async def test_who_lost_the_name_is_not_believed_any_more(stage: Stage) -> None:
    async with stage.play() as scene, fake_musterd(stage.bus.address, name="") as later:
        await ask(scene.musterd.link, "ReleaseName", "s", "org.musterd.Muster1")
        await ask(later.link, "RequestName", "su", "org.musterd.Muster1", 0)
        for musterd in (scene.musterd, later):
            musterd.add("a1")
            musterd.add("b2", title="really")
        await say_to_all(scene.musterd.link, ROOT, REAPER, "SessionReaped", "a1", 0, False)
        later.reaped("b2")
        assert (await scene.dunst.shown()).summary == "“really” was ended"


async def test_clicks_are_believed_of_the_notification_service_only(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        shown = await scene.dunst.shown()
        forger = await Link.open(stage.session_bus.address, FakeMusterd(), within=60)
        await say_to_all(forger, PATH, NOTIFICATIONS, "ActionInvoked", shown.id, "end")
        forger.drop()
        await scene.dunst.click("Keep")
        assert (await scene.musterd.told.get())[0] == "Inhibit"


@pytest.mark.parametrize("markup", ["full", "no"])
async def test_hostile_title_is_text(stage: Stage, markup: str) -> None:
    async with stage.play(markup=markup) as scene:
        scene.musterd.add("a1", title=HOSTILE, cwd="/home/user/<u>&\u202e\x07")
        scene.musterd.prepare("a1")
        shown = await scene.dunst.shown()
        assert shown.summary.startswith("“<b>a</b>&amp;[31mgnp be\u0301\u0301xxx")
        assert len(shown.summary) < 100
        # What is drawn, in markup: all that was written is text.
        assert "codex in &lt;u&gt;&amp;" in shown.formatted
        assert not {"\x1b", "\u202e", "\u202c", "\x07"} & set(shown.summary + shown.body)
