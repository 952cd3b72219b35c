"""What verbs take on the command line: each argument once, for the table in `parser`."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from musterd.core.session import Agent
from musterd.core.settings import span

from .text import printable


class Parser(argparse.ArgumentParser):
    """Complains as the rest of musterctl does: one sentence, one hint, no page of help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}\nHint: '{self.prog} --help' shows how.\n")


Adder = Callable[[Parser], object]


def session_id(parser: Parser) -> None:
    help_ = "session, or the beginning of its id; '.', or nothing: the one that this shell runs in"
    parser.add_argument("id", nargs="?", default=".", metavar="ID", help=help_)


def session_ids(parser: Parser) -> None:
    help_ = "sessions, or the beginnings of their ids; '.', or nothing: the one that this shell runs in"
    parser.add_argument("ids", nargs="*", metavar="ID", help=help_)


def named_ids(parser: Parser) -> None:
    help_ = "sessions, or the beginnings of their ids; '.': the one that this shell runs in"
    parser.add_argument("ids", nargs="+", metavar="ID", help=help_)


def ended_ids(parser: Parser) -> None:
    help_ = "sessions that ended, or the beginnings of their ids; none: show which can be resumed"
    parser.add_argument("ids", nargs="*", metavar="ID", help=help_)


def maybe_id(help_: str) -> Adder:
    return lambda parser: parser.add_argument("id", nargs="?", default="", metavar="ID", help=help_)


def flag(*names: str, help_: str) -> Adder:
    return lambda parser: parser.add_argument(*names, action="store_true", help=help_)


def value(*names: str, metavar: str, help_: str, default: str | None = None) -> Adder:
    return lambda parser: parser.add_argument(*names, metavar=metavar, default=default, help=help_)


def number(*names: str, metavar: str, help_: str, default: int) -> Adder:
    return lambda parser: parser.add_argument(
        *names, metavar=metavar, type=_count, default=default, help=help_
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number greater than 0")
    return int(text)


def agent(parser: Parser) -> None:
    parser.add_argument(
        "--agent", choices=[a.value for a in Agent], metavar="AGENT", help="which agent it is"
    )


def labels(parser: Parser) -> None:
    parser.add_argument("--label", action="append", metavar="TEXT", help="for scripts; may be repeated")


def hook(parser: Parser) -> None:
    parser.add_argument("agent", metavar="AGENT", help="the agent whose hook this is")
    parser.add_argument("event", metavar="EVENT", help="the hook's name, in that agent's words")


def hooks(parser: Parser) -> None:
    parts = parser.add_subparsers(dest="what", metavar="[install | uninstall | status]")
    for name, help_ in (
        ("install", "put them into the settings of these agents; none: of all that are here"),
        ("uninstall", "take them out again"),
        ("status", "show how it is with them"),
    ):
        part = parts.add_parser(name, help=help_, description=help_, allow_abbrev=False)
        part.add_argument(
            "agents", nargs="*", metavar="AGENT", help="claude-code, codex, gemini, pi, opencode"
        )
        add_common(part)


def hold_mode(parser: Parser) -> None:
    help_ = "block, or delay (up to inhibit-delay-max)"
    parser.add_argument("--mode", choices=("block", "delay"), default="block", help=help_)


def hold_what(parser: Parser) -> None:
    help_ = "what is not to happen: reap, stop or reap:stop"
    parser.add_argument("--what", choices=("reap", "stop", "reap:stop"), default="reap", help=help_)


@dataclass(frozen=True, slots=True)
class Part:
    """A verb of a verb; its name comes as `what`."""

    name: str
    help: str
    arguments: tuple[Adder, ...] = ()


def parts(*parts: Part) -> Adder:
    """Without one of them, the verb shows how things are."""

    def add(parser: Parser) -> None:
        names = " | ".join(part.name for part in parts)
        under = parser.add_subparsers(dest="what", metavar=f"[{names}]")
        for part in parts:
            sub = under.add_parser(part.name, help=part.help, description=part.help, allow_abbrev=False)
            for add_argument in part.arguments:
                add_argument(sub)
            add_common(sub)

    return add


def choice(name: str, *choices: str, help_: str) -> Adder:
    """One of these, or none."""
    return lambda parser: parser.add_argument(name, nargs="?", choices=choices, help=help_)


def claim(parser: Parser) -> None:
    help_ = "claim, or the beginning of its id; none: the open one of this shell's session"
    parser.add_argument("claim", nargs="?", default="", metavar="CLAIM", help=help_)


def task(parser: Parser) -> None:
    parser.add_argument("--task", required=True, metavar="TEXT", help="what is to be done")


def budget(parser: Parser) -> None:
    help_ = "how often the session may be held for it: 3, 5 or 10 times (small)"
    parser.add_argument("--budget", choices=("small", "medium", "large"), default="small", help=help_)


def deadline(parser: Parser) -> None:
    help_ = "how long it may be held for it at the most, such as 90min or 2h"
    parser.add_argument("--deadline", type=_span, default=0.0, metavar="SPAN", help=help_)


def _span(value: str) -> float:
    try:
        seconds = span(value)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    if not seconds:
        raise argparse.ArgumentTypeError(f"'{value}' is no time at all")
    return seconds


def texts(name: str, help_: str) -> Adder:
    return lambda parser: parser.add_argument(name, action="append", metavar="TEXT", help=help_)


def add_common(parser: Parser) -> None:
    """Options that may stand before or after the verb."""

    def add(*names: str, **rest: str) -> None:
        parser.add_argument(*names, default=argparse.SUPPRESS, **rest)  # type: ignore[arg-type]  # all texts

    add("--system", action="store_true", help="the daemon of the system bus (default)")
    add("--user", action="store_true", help="the daemon of your session bus")
    add("--bus", metavar="ADDRESS", help="the daemon of that bus; default: $MUSTERD_BUS")
    add("-H", "--host", metavar="[USER@]HOST", help="the daemon of another host, over ssh")
    add("--json", action="store_true", help="for programs")
    add("--no-legend", action="store_true", help="neither headings nor sums")
    add("--no-pager", action="store_true", help="print all at once")
