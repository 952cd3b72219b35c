"""Services that come and go: nothing crashes, nothing is polled, nothing is lost that still matters."""

import asyncio
import re

from helpers.fake_musterd import fake_musterd
from notifier.conftest import Stage


async def test_without_a_notification_service_it_says_so_once_and_waits(stage: Stage) -> None:
    async with fake_musterd(stage.bus.address) as musterd, stage.notifier() as helper:
        musterd.add("a1")
        musterd.add("b2", title="another")
        musterd.reaped("a1")
        musterd.reaped("b2")
        async with stage.dunst() as desktop:
            shown = [(await desktop.shown()).summary for _ in range(2)]
            assert shown == ["“parser” was ended", "“another” was ended"]
            helper.process.terminate()
            await helper.process.wait()
    assert "".join(helper.said).count("No notification service") == 1


async def test_announcement_is_shown_again_by_the_next_notification_service(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.add("b2")
        scene.musterd.prepare("a1", seconds=3600)
        scene.musterd.reaped("b2")
        for _ in range(2):
            await scene.dunst.shown()
        await scene.dunst.stop()
        async with stage.dunst() as desktop:
            assert "will be ended" in (await desktop.shown()).summary
            await desktop.click("Keep")
            assert (await desktop.shown()).summary == "“parser” is kept"
            assert await desktop.displayed() == 1


async def test_announcement_is_withdrawn_when_musterd_goes(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        shown = await scene.dunst.shown()
        await scene.musterd.link.close()
        async with fake_musterd(stage.bus.address) as musterd:
            musterd.add("b2", title="another")
            musterd.reaped("b2")
            assert (await scene.dunst.shown()).summary == "“another” was ended"
            assert await scene.dunst.history() == [shown.summary]


async def test_hold_is_taken_again_from_the_next_musterd(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        await scene.dunst.shown()
        await scene.dunst.click("Keep")
        await scene.dunst.shown()
        await scene.musterd.link.close()
        async with fake_musterd(stage.bus.address) as musterd:
            assert (await musterd.told.get())[0] == "Inhibit"
            await scene.musterd.hold_ended()


async def test_hold_that_the_next_musterd_refuses_is_told_of(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        await scene.dunst.shown()
        await scene.dunst.click("Keep")
        await scene.dunst.shown()
        await scene.musterd.link.close()
        async with fake_musterd(stage.bus.address, refuses="There are too many."):
            lapsed = await scene.dunst.shown()
            assert (lapsed.summary, lapsed.body) == ("“parser” is not kept any more", "There are too many.")


async def test_both_buses_may_restart(stage: Stage) -> None:
    async with stage.play() as scene:
        await asyncio.to_thread(stage.bus.restart)
        await asyncio.to_thread(stage.session_bus.restart)
        await scene.dunst.stop()
        async with fake_musterd(stage.bus.address) as musterd, stage.dunst() as desktop:
            musterd.add("a1")
            musterd.disarm("It came to nothing.")  # a state: whenever it is back, it sees it
            assert (await desktop.shown()).urgency == "CRITICAL"
            musterd.prepare("a1", seconds=3600)
            assert re.match("“parser” will be ended in", (await desktop.shown()).summary)
            await desktop.click("End now")
            assert (await musterd.told.get())[:2] == ("TerminateSession", "a1")
            assert (await desktop.shown()).summary == "“parser” was ended"


async def test_second_helper_in_a_session_has_nothing_to_do(stage: Stage) -> None:
    async with stage.play() as scene:
        second = await stage.run_notifier()
        assert second == (0, "musterd-notify: Another musterd-notify shows what there is to show here\n")
        assert scene.notifier.process.returncode is None


async def test_without_a_bus_it_fails_with_a_sentence(stage: Stage) -> None:
    stage.session_bus.stop()
    status, said = await stage.run_notifier()
    assert status == 1
    assert said == (
        f"musterd-notify: cannot connect to the session bus at '{stage.session_bus.address}': "
        "No such file or directory; 'dbus-run-session' starts one, or name another\n"
    )
