"""The example configuration is the table: same sections, keys, defaults and order."""

import re
from pathlib import Path

from musterd.core.config import Config, options, parse_config

EXAMPLE = Path(__file__).parents[2] / "units" / "musterd.toml"


def test_example_names_every_option_in_order_with_its_help() -> None:
    section, found, text = "", [], ""
    for line in EXAMPLE.read_text().splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line):
            section = header[1]
        elif option := re.fullmatch(r"#([a-z-]+) = .+", line):
            found.append((section, option[1], text))
        else:
            text = line.removeprefix("# ")
    assert found == [(option.section, option.key, option.help) for option in options()]


def test_example_shows_the_defaults() -> None:
    shown = re.sub(r"^#([a-z-]+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    assert parse_config({"musterd.toml": shown}) == (Config(), [])


def test_example_as_shipped_is_the_default() -> None:
    assert parse_config({"musterd.toml": EXAMPLE.read_text()}) == (Config(), [])
