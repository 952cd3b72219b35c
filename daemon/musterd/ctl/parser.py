"""The command line as argparse sees it: verbs, options, help. Imports no verb, and no D-Bus library."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from musterd import __version__
from musterd.core.config import span
from musterd.core.session import Agent

from .text import printable


class Parser(argparse.ArgumentParser):
    """Complains as the rest of musterctl does: one sentence, one hint, no page of help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}\nHint: '{self.prog} --help' shows how.\n")


Adder = Callable[[Parser], object]

EXIT_HELP = "Exit status: 0 done, 1 failed, 2 misused, 3 no daemon."


@dataclass(frozen=True, slots=True)
class Verb:
    """A row of the table: `module` below musterd.ctl has `run`."""

    name: str
    module: str
    help: str
    arguments: tuple[Adder, ...] = ()
    lasts: bool = False  # ends by Ctrl-C, which then is no failure
    rest: str = ""  # what may stand after "--"
    here: bool = False  # needs this machine: its files, or file descriptors, which ssh does not pass
    connects: bool = False  # by itself, and does what it can where no daemon is


def _id(parser: Parser) -> None:
    help_ = "session, or the beginning of its id; '.', or nothing: the one that this shell runs in"
    parser.add_argument("id", nargs="?", default=".", metavar="ID", help=help_)


def _ids(parser: Parser) -> None:
    help_ = "sessions, or the beginnings of their ids; '.', or nothing: the one that this shell runs in"
    parser.add_argument("ids", nargs="*", metavar="ID", help=help_)


def _named_ids(parser: Parser) -> None:
    help_ = "sessions, or the beginnings of their ids; '.': the one that this shell runs in"
    parser.add_argument("ids", nargs="+", metavar="ID", help=help_)


def _ended_ids(parser: Parser) -> None:
    help_ = "sessions that ended, or the beginnings of their ids; none: show which can be resumed"
    parser.add_argument("ids", nargs="*", metavar="ID", help=help_)


def _maybe_id(help_: str) -> Adder:
    return lambda parser: parser.add_argument("id", nargs="?", default="", metavar="ID", help=help_)


def _flag(*names: str, help_: str) -> Adder:
    return lambda parser: parser.add_argument(*names, action="store_true", help=help_)


def _value(*names: str, metavar: str, help_: str, default: str | None = None) -> Adder:
    return lambda parser: parser.add_argument(*names, metavar=metavar, default=default, help=help_)


def _number(*names: str, metavar: str, help_: str, default: int) -> Adder:
    return lambda parser: parser.add_argument(
        *names, metavar=metavar, type=_count, default=default, help=help_
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number greater than 0")
    return int(text)


def _agent(parser: Parser) -> None:
    parser.add_argument(
        "--agent", choices=[a.value for a in Agent], metavar="AGENT", help="which agent it is"
    )


def _labels(parser: Parser) -> None:
    parser.add_argument("--label", action="append", metavar="TEXT", help="for scripts; may be repeated")


def _hook(parser: Parser) -> None:
    parser.add_argument("agent", metavar="AGENT", help="the agent whose hook this is")
    parser.add_argument("event", metavar="EVENT", help="the hook's name, in that agent's words")


def _hooks(parser: Parser) -> None:
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
        _add_common(part)


def _hold_mode(parser: Parser) -> None:
    help_ = "block, or delay (up to inhibit-delay-max)"
    parser.add_argument("--mode", choices=("block", "delay"), default="block", help=help_)


def _hold_what(parser: Parser) -> None:
    help_ = "what is not to happen: reap, stop or reap:stop"
    parser.add_argument("--what", choices=("reap", "stop", "reap:stop"), default="reap", help=help_)


@dataclass(frozen=True, slots=True)
class Part:
    """A verb of a verb; its name comes as `what`."""

    name: str
    help: str
    arguments: tuple[Adder, ...] = ()


def _parts(*parts: Part) -> Adder:
    """Without one of them, the verb shows how things are."""

    def add(parser: Parser) -> None:
        names = " | ".join(part.name for part in parts)
        under = parser.add_subparsers(dest="what", metavar=f"[{names}]")
        for part in parts:
            sub = under.add_parser(part.name, help=part.help, description=part.help, allow_abbrev=False)
            for add_argument in part.arguments:
                add_argument(sub)
            _add_common(sub)

    return add


def _choice(name: str, *choices: str, help_: str) -> Adder:
    """One of these, or none."""
    return lambda parser: parser.add_argument(name, nargs="?", choices=choices, help=help_)


def _claim(parser: Parser) -> None:
    help_ = "claim, or the beginning of its id; none: the open one of this shell's session"
    parser.add_argument("claim", nargs="?", default="", metavar="CLAIM", help=help_)


def _task(parser: Parser) -> None:
    parser.add_argument("--task", required=True, metavar="TEXT", help="what is to be done")


def _budget(parser: Parser) -> None:
    help_ = "how often the session may be held for it: 3, 5 or 10 times (small)"
    parser.add_argument("--budget", choices=("small", "medium", "large"), default="small", help=help_)


def _deadline(parser: Parser) -> None:
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


def _texts(name: str, help_: str) -> Adder:
    return lambda parser: parser.add_argument(name, action="append", metavar="TEXT", help=help_)


_lines = _number("-n", "--lines", metavar="N", default=50, help_="how many events at the most")
_why = _value("--why", metavar="TEXT", help_="reason, kept with it")
_items = _texts("--item", "what is to be done for it; may be repeated")

_reaper = _parts(
    Part("mode", "show the mode, or set it", (
        _choice("mode", "off", "dry-run", "on", help_="the mode to set"),
        _why,
    )),
    Part("history", "show what it did", (_lines,)),
)  # fmt: skip

_gate = _parts(
    Part("mode", "show the mode, or set it", (
        _choice("mode", "off", "shadow", "enforce", help_="the mode to set"),
        _why,
    )),
    Part("kill-switch", "show whether everything is allowed at once, or set it", (
        _choice("switch", "on", "off", help_="on: nothing is held, whatever the mode"),
        _why,
    )),
    Part("history", "show what it did", (_lines,)),
)  # fmt: skip

_claims = _parts(
    Part("start", "claim a task for a session, and print the claim's id", (
        _task,
        _budget,
        _deadline,
        _items,
        _value("--session", metavar="ID", default=".", help_="session; default: that of this shell"),
    )),
    Part("update", "change what is to be done", (
        _value("--task", metavar="TEXT", help_="what is to be done"),
        _items,
        _texts("--tick", "an item that is done; may be repeated"),
        _claim,
    )),
    Part("done", "the task is done", (_claim,)),
    Part("abandon", "the task will not be done", (_claim,)),
    Part("list", "show the claims", (
        _maybe_id("only of this session"),
    )),
)  # fmt: skip

VERBS = (
    Verb("list", "roll", "list the sessions", (
        _flag("-a", "--all", help_="also those that ended"),
        _flag("-q", "--quiet", help_="ids only"),
    )),
    Verb("status", "status", "show how the daemon does, or all about one session", (
        _maybe_id("session; '.' is the one that this shell runs in"),
    )),
    Verb("explain", "explain", "say why a session would be kept or reaped", (_id,)),
    Verb("top", "top", "show the roll live", (
        _number("--interval", metavar="SECONDS", default=5, help_="refresh of what no signal tells"),
    ), lasts=True),
    Verb("pressure", "pressure", "show the memory pressure"),
    Verb("events", "events", "show what happened", (
        _flag("-f", "--follow", help_="and go on as it happens"),
        _lines,
        _maybe_id("only of this session"),
    ), lasts=True),
    Verb("register", "enrol", "put a session on the roll, and print its id", (
        _agent,
        _value("--pid", metavar="PID", help_="its process; default: who runs musterctl"),
        _value("--cwd", metavar="DIR", help_="its directory"),
        _value("--agent-session-id", metavar="ID", help_="the agent's own id of the conversation"),
        _value("--transcript", metavar="FILE", help_="where the agent records the conversation"),
        _value("--terminal", metavar="TERMINAL", help_="tmux:SOCKET:PANE or a tty"),
        _value("--title", metavar="TEXT", help_="for people"),
        _value("--on-host", metavar="HOST", help_="where it runs; then it lives by heartbeats"),
        _labels,
    ), rest="RESUME-COMMAND"),
    Verb("release", "orders", "take sessions off the roll; ends no process", (_ids,)),
    Verb("heartbeat", "orders", "say that sessions of another host live", (_ids,)),
    Verb("hold", "hold", "keep a session from being reaped while a command runs, or until Ctrl-C", (
        _hold_what,
        _hold_mode,
        _value("--why", metavar="TEXT", help_="reason, for people"),
        _flag("--all", help_="all your sessions; then there is no ID"),
        _id,
    ), lasts=True, rest="COMMAND", here=True),
    Verb("protect", "orders", "pin sessions: they are never reaped", (_ids,)),
    Verb("unprotect", "orders", "let pinned sessions be reaped again", (_ids,)),
    Verb("terminate", "orders", "end sessions, the way the reaper does", (
        _value("--why", metavar="TEXT", help_="reason, kept in the history"),
        _named_ids,
    )),
    Verb("resume", "resume", "bring ended sessions back, where they were", (
        _flag("--all", help_="all that ended without your will, one after another"),
        _ended_ids,
    )),
    Verb("run", "launch", "start an agent in a scope of its own, and put it on the roll", (
        _labels,
    ), rest="COMMAND", here=True),
    Verb("reaper", "reaper", "show what the reaper would do, or set its mode", (_reaper,)),
    Verb("gate", "gate", "show whether and how turns are held, or set that", (_gate,)),
    Verb("claim", "claim", "show what sessions have claimed, or claim a task", (_claims,)),
    Verb("hooks", "hooks", "put musterd's hooks into the settings of agents, or show how they are", (
        _hooks,
    ), here=True, connects=True),
    Verb("doctor", "doctor", "look for what is wrong, and say what to do", connects=True),
    Verb("hook", "hook", "report an agent's hook; JSON comes on stdin; always exits with 0", (_hook,)),
)  # fmt: skip


def build() -> Parser:
    parser = Parser(
        "musterctl", allow_abbrev=False, epilog=EXIT_HELP, description="The roll of the AI coding agents."
    )
    parser.add_argument("--version", action="version", version=f"musterctl {__version__}")
    _add_common(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs (default: list)", required=True)
    for verb in VERBS:
        sub = verbs.add_parser(verb.name, help=verb.help, description=verb.help, allow_abbrev=False)
        _add_common(sub)
        for add in verb.arguments:
            add(sub)
        if verb.rest:
            sub.usage = f"{sub.format_usage().removeprefix('usage: ').rstrip()} [-- {verb.rest}...]"
    return parser


def _add_common(parser: Parser) -> None:
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
