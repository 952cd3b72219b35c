"""Sentences, as tables."""

import pytest

from musterd.notifier.pace import Pace
from musterd.notifier.stops import MAX_SESSIONS, Stops
from musterd.notifier.topics import (
    Action,
    Asked,
    Cancelled,
    Disarmed,
    Facts,
    Held,
    LetGo,
    More,
    Notice,
    Prepare,
    Reaped,
    Refused,
    Topic,
)
from musterd.notifier.words import clean, name_of, word

NOW = 1_000_000_000
PARSER = Facts("a1", "codex", "", "/home/user/parser", is_resumable=True)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fix the parser", "fix the parser"),
        ("two\nlines\tand  spaces\u2028here", "two lines and spaces here"),
        ("\x1b[31mred\x07", "[31mred"),
        ("\u202egnp.exe\u2066x\u200b", "gnp.exex"),
        ("e" + "\u0301" * 9, "e\u0301\u0301"),
        ("naïve 日本", "naïve 日本"),
        ("x" * 300, "x" * 239 + "…"),
        ("\ud800", ""),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (Facts("a1", title="fix it", cwd="/home/user/parser"), "“fix it”"),
        (Facts("a1", title=" \u202e", cwd="/home/user/parser"), "“parser”"),
        (Facts("a1", cwd="/"), "Session a1"),
    ],
)
def test_session_is_called_what_its_user_calls_it(facts: Facts, name: str) -> None:
    assert name_of(facts) == name


@pytest.mark.parametrize(
    ("topic", "notice"),
    [
        (
            Prepare("a1", NOW + 30_000_000),
            Notice(
                "“parser” will be ended in 30 s",
                "codex in parser is idle, and memory is short. Keep holds it for an hour.",
                (Action.KEEP, Action.END),
                1,
                30_000,
            ),
        ),
        (Prepare("a1", NOW), None),
        (
            Reaped("a1", 0, is_dry_run=False),
            Notice(
                "“parser” was ended",
                "It was idle, and memory short. Resume brings it back where it was.",
                (Action.RESUME,),
            ),
        ),
        (
            Cancelled("a1", "a-gate-of-tomorrow"),
            Notice("“parser” goes on", "It is not ended: “a-gate-of-tomorrow” keeps it.", (), 0, 10_000),
        ),
        (
            Refused("a1", Action.RESUME, "It is open\nalready.", ()),
            Notice("“parser” was not resumed", "It is open already."),
        ),
        (
            Disarmed(""),
            Notice(
                "musterd stopped ending idle agents",
                "It does not say why. It ends nothing until you arm it again: musterctl reaper mode on.",
                (),
                2,
                0,
            ),
        ),
        (
            Held("a1"),
            Notice(
                "“parser” goes on",
                "It wanted to stop, but the task that it claimed is not done. See: musterctl claim",
                (),
                0,
                10_000,
            ),
        ),
        (
            LetGo("a1"),
            Notice(
                "“parser” stopped unfinished",
                "The task that it claimed is not done, but it is held no longer. See: musterctl claim",
            ),
        ),
        (
            More(unfinished=2),
            Notice("2 more", "Sessions of agents: 2 stopped unfinished. See: musterctl events"),
        ),
        (
            More(threatened=2, pretended=1),
            Notice(
                "3 more",
                "Sessions of agents: 2 about to be ended, 1 would have been ended (dry run). "
                "See: musterctl events",
            ),
        ),
    ],
)
def test_word(topic: Topic, notice: Notice | None) -> None:
    assert word(topic, PARSER, NOW) == notice


def test_session_that_cannot_be_resumed_has_no_such_button() -> None:
    notice = word(Reaped("a1", 0, is_dry_run=False), Facts("a1", cwd="/home/user/parser"), NOW)
    assert notice
    assert (notice.body, notice.actions) == ("It was idle, and memory short.", ())


def test_pace_admits_six_a_minute() -> None:
    pace = Pace()
    times = [*(float(second) for second in range(10)), 59.9, 60.0, 60.5, 61.0]
    assert [at for at in times if pace.admits(at)] == [0, 1, 2, 3, 4, 5, 60, 61]


@pytest.mark.parametrize(
    ("story", "verdicts", "told"),
    [
        ("held, then done", "block block allow", [Held]),
        ("held again for another prompt", "block allow block", [Held, Held]),
        ("held as often as may be", "block block exhausted", [Held, LetGo]),
        ("it goes on stopping", "block exhausted exhausted allow exhausted", [Held, LetGo]),
        ("a new claim", "block exhausted block exhausted", [Held, LetGo, Held, LetGo]),
        ("never held", "allow allow", []),
        ("unfinished from before", "exhausted", [LetGo]),
        ("a verdict of tomorrow", "block perhaps", [Held]),
    ],
)
def test_what_the_stop_gate_does_is_told_when_it_changes(
    story: str, verdicts: str, told: list[type[Topic]]
) -> None:
    stops = Stops()
    news = [stops.news(Asked("a1", verdict)) for verdict in verdicts.split()]
    assert [type(topic) for topic in news if topic] == told


def test_sessions_of_which_verdicts_are_remembered_are_bounded() -> None:
    stops = Stops()
    for number in range(MAX_SESSIONS + 1):
        stops.news(Asked(f"a{number}", "block"))
    assert stops.news(Asked("a0", "block")) == Held("a0")
    assert stops.news(Asked(f"a{MAX_SESSIONS}", "block")) is None
