"""musterctl: finds the verb, runs it, and turns failures into one sentence and an exit status.

What a verb needs is imported only when it runs: hooks and completions pay for start-up each time.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from .failure import CtlError, Exit, Misused, complain
from .parser import VERBS, Verb, build

if TYPE_CHECKING:
    from .client import Where

_VALUED = ("--bus", "-H", "--host")  # options before the verb that take a value
_ANSWERED_AT_ONCE = ("-h", "--help", "--version")


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    own, rest = _split(words)
    if _verb_of(own) == "help":  # as `git help VERB`
        own.remove("help")
        own.append("--help")
    if _verb_of(own) == "hook":
        from .hook import run_hook  # its own way: it never fails

        run_hook(own)
    if (word := _verb_of(own)) and word not in {verb.name for verb in VERBS}:
        return complain(_unknown(word))
    if not _verb_of(own) and not any(option in own for option in _ANSWERED_AT_ONCE):
        own = ["list", *own]
    args, more = build().parse_known_args(own)
    verb = next(verb for verb in VERBS if verb.name == args.verb)
    args.rest = rest
    try:
        _check(verb, args, more, has_rest="--" in words)
        return _run_verb(verb, args)
    except CtlError as exc:
        return complain(exc)
    except KeyboardInterrupt:
        return Exit.DONE if verb.lasts else 128 + 2
    except BrokenPipeError:  # whoever read our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE


def _check(verb: Verb, args: Namespace, more: Sequence[str], *, has_rest: bool) -> None:
    """What argparse does not: it never sees what stands after `--`, and says of `more` no verb."""
    if more:
        raise Misused(
            f"'{verb.name}' takes no '{more[0]}'.", f"'musterctl {verb.name} --help' shows what it takes."
        )
    if args.rest and not verb.rest:
        raise Misused(f"'{verb.name}' takes nothing after '--'.")
    if verb.rest and has_rest and not args.rest:  # as a script has it whose variable is empty
        raise Misused(f"'{verb.name}' takes {verb.rest} after '--', and there is none.")
    if verb.here and "host" in args:
        raise Misused(f"'{verb.name}' does not work over ssh.", "Run it over there.")


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    own = list(argv)
    if "--" not in own:
        return own, []
    at = own.index("--")
    return own[:at], own[at + 1 :]


def _verb_of(own: Sequence[str]) -> str:
    """The first word that is no option, and no option's value."""
    words = iter(own)
    for word in words:
        if word in _VALUED:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def _unknown(word: str) -> Misused:
    from difflib import get_close_matches  # rarely needed

    near = get_close_matches(word, [verb.name for verb in VERBS], n=1)
    perhaps = f"Perhaps '{near[0]}'? " if near else ""
    return Misused(f"There is no verb '{word}'.", f"{perhaps}'musterctl --help' shows all.")


def _run_verb(verb: Verb, args: Namespace) -> int:
    import asyncio

    from .client import connect

    run_it = import_module(f".{verb.module}", __package__).run
    where = where_of(args)

    if verb.module == "launch":
        return int(run_it(where, args))  # becomes another program, outside of any loop

    async def connected() -> int:
        async with connect(where) as client:
            return int(await run_it(client, args) or Exit.DONE)

    status = asyncio.run(run_it(where, args) if verb.connects else connected())
    sys.stdout.flush()
    return int(status)


def where_of(args: Namespace) -> "Where":
    """--bus, --user and --system, in this order, then MUSTERD_BUS, then the system bus.

    MUSTERD_BUS says where the bus is on this machine, and nothing of another host.
    """
    from .client import Where

    options = vars(args)
    if sum(name in options for name in ("system", "user", "bus")) > 1:
        raise Misused("Give only one of --system, --user and --bus.")
    address = "session" if "user" in options else "system" if "system" in options else options.get("bus")
    host = options.get("host", "")
    address = address or ("" if host else os.environ.get("MUSTERD_BUS")) or "system"
    if address not in ("system", "session", "user") and ":" not in address:
        raise Misused(f"'{address}' is no address of a bus.", "Such as unix:path=/run/user/1000/bus")
    return Where({"user": "session"}.get(address, address), host)


if __name__ == "__main__":
    sys.exit(main())
