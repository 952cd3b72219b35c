"""The command line as argparse sees it: verbs, options, help. Imports no verb, and no D-Bus library."""

from dataclasses import dataclass

from musterd import __version__

from .arguments import (
    Adder,
    Parser,
    Part,
    add_common,
    agent,
    budget,
    choice,
    claim,
    deadline,
    ended_ids,
    flag,
    hold_mode,
    hold_what,
    hook,
    hooks,
    labels,
    maybe_id,
    named_ids,
    number,
    parts,
    session_id,
    session_ids,
    task,
    texts,
    value,
)

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


_lines = number("-n", "--lines", metavar="N", default=50, help_="how many events at the most")
_why = value("--why", metavar="TEXT", help_="reason, kept with it")
_items = texts("--item", "what is to be done for it; may be repeated")

_reaper = parts(
    Part("mode", "show the mode, or set it", (
        choice("mode", "off", "dry-run", "on", help_="the mode to set"),
        _why,
    )),
    Part("history", "show what it did", (_lines,)),
)  # fmt: skip

_gate = parts(
    Part("mode", "show the mode, or set it", (
        choice("mode", "off", "shadow", "enforce", help_="the mode to set"),
        _why,
    )),
    Part("kill-switch", "show whether everything is allowed at once, or set it", (
        choice("switch", "on", "off", help_="on: nothing is held, whatever the mode"),
        _why,
    )),
    Part("history", "show what it did", (_lines,)),
)  # fmt: skip

_claims = parts(
    Part("start", "claim a task for a session, and print the claim's id", (
        task,
        budget,
        deadline,
        _items,
        value("--session", metavar="ID", default=".", help_="session; default: that of this shell"),
    )),
    Part("update", "change what is to be done", (
        value("--task", metavar="TEXT", help_="what is to be done"),
        _items,
        texts("--tick", "an item that is done; may be repeated"),
        claim,
    )),
    Part("done", "the task is done", (claim,)),
    Part("abandon", "the task will not be done", (claim,)),
    Part("list", "show the claims", (
        maybe_id("only of this session"),
    )),
)  # fmt: skip

VERBS = (
    Verb("list", "roll", "list the sessions", (
        flag("-a", "--all", help_="also those that ended"),
        flag("-q", "--quiet", help_="ids only"),
    )),
    Verb("status", "status", "show how the daemon does, or all about one session", (
        maybe_id("session; '.' is the one that this shell runs in"),
    )),
    Verb("explain", "explain", "say why a session would be kept or reaped", (session_id,)),
    Verb("top", "top", "show the roll live", (
        number("--interval", metavar="SECONDS", default=5, help_="refresh of what no signal tells"),
    ), lasts=True),
    Verb("pressure", "pressure", "show the memory pressure"),
    Verb("events", "events", "show what happened", (
        flag("-f", "--follow", help_="and go on as it happens"),
        _lines,
        maybe_id("only of this session"),
    ), lasts=True),
    Verb("register", "enrol", "put a session on the roll, and print its id", (
        agent,
        value("--pid", metavar="PID", help_="its process; default: who runs musterctl"),
        value("--cwd", metavar="DIR", help_="its directory"),
        value("--agent-session-id", metavar="ID", help_="the agent's own id of the conversation"),
        value("--transcript", metavar="FILE", help_="where the agent records the conversation"),
        value("--terminal", metavar="TERMINAL", help_="tmux:SOCKET:PANE or a tty"),
        value("--title", metavar="TEXT", help_="for people"),
        value("--on-host", metavar="HOST", help_="where it runs; then it lives by heartbeats"),
        labels,
    ), rest="RESUME-COMMAND"),
    Verb("release", "orders", "take sessions off the roll; ends no process", (session_ids,)),
    Verb("heartbeat", "orders", "say that sessions of another host live", (session_ids,)),
    Verb("hold", "hold", "keep a session from being reaped while a command runs, or until Ctrl-C", (
        hold_what,
        hold_mode,
        value("--why", metavar="TEXT", help_="reason, for people"),
        flag("--all", help_="all your sessions; then there is no ID"),
        session_id,
    ), lasts=True, rest="COMMAND", here=True),
    Verb("protect", "orders", "pin sessions: they are never reaped", (session_ids,)),
    Verb("unprotect", "orders", "let pinned sessions be reaped again", (session_ids,)),
    Verb("terminate", "orders", "end sessions, the way the reaper does", (
        value("--why", metavar="TEXT", help_="reason, kept in the history"),
        named_ids,
    )),
    Verb("resume", "resume", "bring ended sessions back, where they were", (
        flag("--all", help_="all that ended without your will, one after another"),
        flag("-y", "--yes", help_="do not ask about those that came back three times in a day"),
        ended_ids,
    )),
    Verb("run", "launch", "start an agent in a scope of its own, and put it on the roll", (
        labels,
    ), rest="COMMAND", here=True),
    Verb("reaper", "reaper", "show what the reaper would do, or set its mode", (_reaper,)),
    Verb("gate", "gate", "show whether and how turns are held, or set that", (_gate,)),
    Verb("claim", "claim", "show what sessions have claimed, or claim a task", (_claims,)),
    Verb("hooks", "hooks", "put musterd's hooks into the settings of agents, or show how they are", (
        hooks,
    ), here=True, connects=True),
    Verb("doctor", "doctor", "look for what is wrong, and say what to do", connects=True),
    Verb("hook", "hook", "report an agent's hook; JSON comes on stdin; always exits with 0", (hook,)),
)  # fmt: skip


def build() -> Parser:
    parser = Parser(
        "musterctl", allow_abbrev=False, epilog=EXIT_HELP, description="The roll of the AI coding agents."
    )
    parser.add_argument("--version", action="version", version=f"musterctl {__version__}")
    add_common(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs (default: list)", required=True)
    for verb in VERBS:
        sub = verbs.add_parser(verb.name, help=verb.help, description=verb.help, allow_abbrev=False)
        add_common(sub)
        for add in verb.arguments:
            add(sub)
        if verb.rest:
            sub.usage = f"{sub.format_usage().removeprefix('usage: ').rstrip()} [-- {verb.rest}...]"
    return parser
