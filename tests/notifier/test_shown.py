"""What dunst really shows, and what its buttons do."""

import os
import re
from dataclasses import replace

from helpers.desktop import Shown
from notifier.conftest import Stage

BUTTONS = {"keep": "Keep", "end": "End now"}


def without_time(shown: Shown) -> Shown:
    """What passes until it is shown differs."""
    return replace(
        shown, timeout="soon", summary=re.sub(r"\d+ s$", "N s", shown.summary), id=0, formatted=""
    )


async def test_session_about_to_be_ended_is_announced_with_a_way_out(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1", title="fix the parser")
        scene.musterd.prepare("a1", seconds=30)
        shown = await scene.dunst.shown()
        assert without_time(shown) == Shown(
            0,
            "“fix the parser” will be ended in N s",
            "codex in parser (1.2 GiB) is idle, and memory is short. Keep holds it for an hour.",
            "", "NORMAL", "soon", "musterd-notify", BUTTONS,
        )  # fmt: skip
        assert 0 < int(shown.timeout) <= 30_000


async def test_keep_holds_it_for_as_long_as_the_helper_runs(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        before = await scene.dunst.shown()
        await scene.dunst.click("Keep")
        member, what, *_, mode, session_id = await scene.musterd.told.get()
        assert (member, what, mode, session_id) == ("Inhibit", "reap", "block", "a1")
        kept = await scene.dunst.shown()
        assert (kept.id, kept.summary, kept.actions) == (before.id, "“parser” is kept", {})
        assert re.search(r"holds it until \d\d:\d\d", kept.body)

        scene.notifier.process.terminate()
        await scene.musterd.hold_ended()


async def test_answer_to_keep_is_not_overwritten_by_the_cancellation_it_causes(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.add("b2", title="another")
        scene.musterd.prepare("a1")
        await scene.dunst.shown()
        await scene.dunst.click("Keep")
        assert (await scene.dunst.shown()).summary == "“parser” is kept"
        scene.musterd.cancelled("a1", "inhibited")
        scene.musterd.reaped("b2")
        assert (await scene.dunst.shown()).summary == "“another” was ended"


async def test_end_now_ends_it_and_offers_to_resume(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        await scene.dunst.shown()
        await scene.dunst.click("End now")
        assert (await scene.musterd.told.get())[:2] == ("TerminateSession", "a1")
        ended = await scene.dunst.shown()
        assert (ended.summary, ended.actions) == ("“parser” was ended", {"resume": "Resume"})


async def test_reaped_session_replaces_its_announcement_and_can_be_resumed(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        before = await scene.dunst.shown()
        scene.musterd.reaped("a1", 734_003_200)
        after = await scene.dunst.shown()
        assert (after.id, after.summary, after.actions) == (
            before.id, "“parser” was ended", {"resume": "Resume"},
        )  # fmt: skip
        assert after.body == "700 MiB of memory came back. Resume brings it back where it was."
        assert await scene.dunst.displayed() == 1

        await scene.dunst.click("Resume")
        assert await scene.musterd.told.get() == ("ResumeSession", "a1")
        assert (await scene.dunst.shown()).summary == "“parser” is back"


async def test_cancelled_reap_replaces_its_announcement(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        before = await scene.dunst.shown()
        scene.musterd.cancelled("a1", "turn")
        after = await scene.dunst.shown()
        assert (after.id, after.summary, after.body, after.urgency, after.actions) == (
            before.id, "“parser” goes on", "It is not ended: it works again.", "LOW", {},
        )  # fmt: skip


async def test_refused_order_is_told_in_the_words_of_musterd_and_can_be_tried_again(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        await scene.dunst.shown()
        scene.musterd.refuses = "An end of it is under way."
        await scene.dunst.click("Keep")
        refused = await scene.dunst.shown()
        assert (refused.summary, refused.body) == ("“parser” was not kept", "An end of it is under way.")
        scene.musterd.refuses = ""
        await scene.dunst.click("Keep")
        assert (await scene.dunst.shown()).summary == "“parser” is kept"


async def test_dry_run_is_told_only_to_who_wants_it(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.add("b2", title="in earnest")
        scene.musterd.reaped("a1", 1000, dry_run=True)
        scene.musterd.reaped("b2")
        assert (await scene.dunst.shown()).summary == "“in earnest” was ended"


async def test_dry_run_has_no_buttons(stage: Stage) -> None:
    async with stage.play("--dry-run-too") as scene:
        scene.musterd.add("a1")
        scene.musterd.reaped("a1", 734_003_200, dry_run=True)
        shown = await scene.dunst.shown()
        assert (shown.summary, shown.urgency, shown.actions) == ("“parser” would have been ended", "LOW", {})


async def test_disarmed_reaper_is_told_once_and_stays_until_it_is_armed_again(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.disarm("The end of session 'a1' could not be verified.")
        shown = await scene.dunst.shown()
        assert (shown.urgency, shown.timeout) == ("CRITICAL", "0")
        assert shown.body.startswith("The end of session 'a1' could not be verified. It ends nothing until")
        scene.musterd.disarm("The end of session 'a1' could not be verified.")
        scene.musterd.disarm("")
        scene.musterd.add("a1")
        scene.musterd.reaped("a1")
        assert (await scene.dunst.shown()).summary == "“parser” was ended"
        assert await scene.dunst.history() == [shown.summary]


async def test_held_session_is_told_of_once_and_again_when_it_may_stop_unfinished(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.evaluated("a1", "block", enforced=False)
        scene.musterd.evaluated("a1", "exhausted", enforced=False)
        scene.musterd.evaluated("a1", "block")
        held = await scene.dunst.shown()
        assert (held.summary, held.urgency, held.actions) == ("“parser” goes on", "LOW", {})
        scene.musterd.evaluated("a1", "block")
        scene.musterd.evaluated("a1", "exhausted")
        let_go = await scene.dunst.shown()
        assert (let_go.id, let_go.summary) == (held.id, "“parser” stopped unfinished")
        assert let_go.body.startswith("The task that it claimed is not done")


async def test_sessions_of_others_are_not_told_of(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("theirs", uid=os.getuid() + 1)
        scene.musterd.add("a1")
        for session_id in ("theirs", "denied", "a1"):
            scene.musterd.reaped(session_id)
        assert (await scene.dunst.shown()).summary == "“parser” was ended"


async def test_flood_is_summed_up(stage: Stage) -> None:
    async with stage.play() as scene:
        for number in range(20):
            scene.musterd.add(f"a{number}", title=f"agent {number}")
            scene.musterd.prepare(f"a{number}")
        shown = [(await scene.dunst.shown()).summary for _ in range(7)]
        assert [summary.split("”")[0] for summary in shown[:6]] == [f"“agent {n}" for n in range(6)]
        assert re.fullmatch(r"\d+ more", shown[6])


async def test_nothing_is_left_on_the_screen_when_the_helper_ends(stage: Stage) -> None:
    async with stage.play() as scene:
        scene.musterd.add("a1")
        scene.musterd.prepare("a1")
        await scene.dunst.shown()
        scene.notifier.process.terminate()
        await scene.notifier.process.wait()
        assert await scene.dunst.displayed() == 0
