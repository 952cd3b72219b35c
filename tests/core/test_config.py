"""Configuration: good values are taken, and all mistakes are told at once, with their lines."""

import pytest

from musterd.core.config import Config, Mistake, options, parse_config
from musterd.core.settings import size, span


def test_nothing_is_the_default() -> None:
    assert parse_config({}) == (Config(), [])


def test_later_files_win_key_by_key() -> None:
    config, mistakes = parse_config(
        {"a.toml": '[reaper]\nmin-age = "5min"\ngrace = 3\n', "b.toml": "[reaper]\ngrace = 4\n"}
    )
    assert (config.reaper.min_age, config.reaper.grace, mistakes) == (300.0, 4.0, [])


def test_five_mistakes_are_five_and_the_rest_is_taken() -> None:
    text = """
colour = "red"
[reaper]
grace = "soon"
budget = 3
protect = ["name:x"]
min-age = 7
[pressure]
critical-full = 101
"""
    config, mistakes = parse_config({"musterd.toml": text})
    assert config.reaper.min_age == 7.0
    assert config.pressure == Config().pressure
    assert [(m.line, m.text.split(":")[0].split(" ")[0]) for m in mistakes] == [
        (2, "unknown"),
        (4, "grace"),
        (5, "unknown"),
        (6, "protect"),
        (9, "critical-full"),
    ]


def test_file_that_is_no_toml_leaves_the_others_alone() -> None:
    config, mistakes = parse_config({"a": "[reaper]\ngrace = 3", "b": "[reaper\n"})
    assert config.reaper.grace == 3
    assert mistakes[0].file == "b"
    assert mistakes[0].line == 1


def test_mistake_is_written_as_compilers_do() -> None:
    assert str(Mistake("musterd.toml", 3, "no")) == "musterd.toml:3: no"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10min", 600), ("1h 30min", 5400), ("1500ms", 1.5), (2, 2), ("30d", 2592000), ("5", 5)],
)
def test_span(text: object, seconds: float) -> None:
    assert span(text) == seconds


@pytest.mark.parametrize("value", ["", "soon", "5 apples", -1, True, None, [], "1h!", 1e12])
def test_what_is_no_span(value: object) -> None:
    with pytest.raises(ValueError, match="time span"):
        span(value)


@pytest.mark.parametrize(("value", "number"), [("64M", 64 * 2**20), (7, 7), ("2G", 2**31)])
def test_size(value: object, number: int) -> None:
    assert size(value) == number


@pytest.mark.parametrize("value", ["64 MB", -1, True, "M", 2.5])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        size(value)


def test_each_row_of_the_table_has_help() -> None:
    assert all(option.help.endswith(".") for option in options())
