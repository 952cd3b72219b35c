"""Drafts and dialogs on real screens: they veto, and nothing else on a screen does."""

import pytest

from musterd.agents.base import UNREADABLE, ScreenReading

from .captured import Captured, every
from .test_states import name

AGENTS = ("pi", "codex", "gemini", "opencode")
CLEAN = (
    "idle",
    "idle-after-tool",
    "interrupted",
    "answered",
    "idle-after-subagent",
    "idle-after-resume",
    "resumed",
    "compacted",
)
RESUMING = (Captured("gemini"), "resumed")  # it is still at it: no composer yet


@pytest.mark.parametrize(
    ("captured", "stage"), [row for row in every(*CLEAN, "fresh") if row != RESUMING], ids=name
)
def test_empty_composer_has_no_draft(captured: Captured, stage: str) -> None:
    assert captured.adapter.screen(captured.screen(stage)) == ScreenReading(False, False)


@pytest.mark.parametrize(
    ("captured", "screen"),
    [
        (RESUMING[0], RESUMING[0].screen("resumed")),
        (Captured("codex"), Captured("codex").screen("left")),  # the shell that it was started from
        (Captured("opencode"), Captured("opencode").screen("left")),
        *((Captured(agent), "") for agent in AGENTS),
        *((Captured(agent), "$ less notes.txt\n > a quote\n(END)\n") for agent in AGENTS),
    ],
    ids=name,
)
def test_screen_without_a_composer_is_not_read(captured: Captured, screen: str) -> None:
    assert captured.adapter.screen(screen) == UNREADABLE


@pytest.mark.parametrize(("captured", "stage"), every("draft"), ids=name)
def test_text_not_sent_is_a_draft(captured: Captured, stage: str) -> None:
    assert captured.adapter.screen(captured.screen(stage)) == ScreenReading(False, has_draft=True)


@pytest.mark.parametrize(("captured", "stage"), every("asking", "dialog"), ids=name)
def test_question_is_a_dialog(captured: Captured, stage: str) -> None:
    assert captured.adapter.screen(captured.screen(stage)).has_dialog


def test_pi_puts_queued_text_back_into_the_composer() -> None:
    pi = Captured("pi")
    assert pi.adapter.screen(pi.screen("interrupted-queued")).has_draft


def test_what_is_queued_in_codex_is_not_sent_yet() -> None:
    codex = Captured("codex")
    steering = codex.screen("queued")
    following = steering.replace(
        "Messages to be submitted after next tool call (press esc to interrupt and send immediately)",
        "Queued follow-up inputs",
    )
    assert following != steering
    for screen in (steering, following):
        assert codex.adapter.screen(screen) == ScreenReading(False, has_draft=True)
    quoted = steering.replace("  ↳ queued while it works", "")
    assert codex.adapter.screen(quoted) == ScreenReading(False, False)


@pytest.mark.parametrize(
    ("captured", "composer"), [(Captured("codex"), "\n\u203a"), (Captured("gemini"), "\n *")], ids=str
)
@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize("text", ["the last line", ""])
def test_draft_may_begin_with_empty_lines(captured: Captured, composer: str, lines: int, text: str) -> None:
    before, _, after = captured.screen("idle").rpartition(composer)
    _, _, after = after.partition("\n")
    empty = "\n" * lines
    screen = f"{before}{composer}{empty}   {text}\n{after}"
    assert captured.adapter.screen(screen) == ScreenReading(False, has_draft=True)
