"""`resume`: brings ended sessions back; without a name, shows which could be."""

import asyncio
import os
import sys
import time
from argparse import Namespace

from musterd.bus.names import SESSION

from . import roll, sessions, table
from .again import program
from .client import Client, Properties
from .failure import CtlError, Exit, Misused
from .text import printable

RESUME_TIMEOUT = 60.0  # seconds; the slowest agent needs ten on a busy machine

# Ends that no user wanted. What its user left, released or terminated stays ended.
UNWANTED = frozenset(("reaped", "reboot", "gone-while-away"))


async def run(client: Client, args: Namespace) -> int:
    if args.ids and args.all:
        raise Misused("Give ids or --all, not both.")
    if not args.ids and not args.all:
        await _show(client, args)
        return Exit.DONE
    meant = await _unwanted_ends(client) if args.all else [await _named(client, text) for text in args.ids]
    here = [] if "host" in args else [session for session in meant if _is_here(session)]
    status = await _resume(client, [session for session in meant if session not in here], args)
    if here:
        _go_on_apart(args, [session["Id"] for session in here])
    return status


async def _resume(client: Client, meant: list[Properties], args: Namespace) -> int:
    """One after another: each needs memory to start, which was short. Says which failed, and goes on."""
    resumed: list[dict[str, str]] = []
    failures = 0
    for session in meant:
        try:
            session_id = await _resume_one(client, session["Id"], is_asked=args.yes)
        except CtlError as exc:
            if len(meant) == 1 or exc.status is not Exit.FAILED:
                raise
            failures += 1
            hint = f" {exc.hint}" if exc.hint else ""
            print(f"musterctl: {printable(session['Id'])}: {printable(str(exc) + hint)}", file=sys.stderr)
            continue
        terminal = (await _named(client, session_id))["Terminal"]
        resumed.append({"Id": session_id, "Terminal": terminal})
        if "json" not in args:
            place = roll.terminal(terminal)
            print(f"{printable(session_id)} is back{f' in {place}' if place else ''}.", flush=True)
    if "json" in args and (resumed or not failures):
        print(sessions.as_json(resumed))
    return Exit.FAILED if failures else Exit.DONE


async def _resume_one(client: Client, session_id: str, *, is_asked: bool) -> str:
    """One that came back often already is one to ask about."""
    member = "ResumeSessionAnyway" if is_asked else "ResumeSession"
    try:
        (resumed,) = await client.manager(member, "s", session_id, ask=True, within=RESUME_TIMEOUT)
    except CtlError as exc:
        if exc.name != "LimitReached" or is_asked:
            raise
        if not sys.stdin.isatty():
            raise CtlError(str(exc), "With --yes it comes back all the same.", name=exc.name) from exc
        print(
            f"{printable(str(exc))}\nBring it back all the same? [y/N] ", end="", file=sys.stderr, flush=True
        )
        if (await _typed()).strip().lower() not in ("y", "yes"):
            raise CtlError(f"Session '{session_id}' stays ended.") from exc
        return await _resume_one(client, session_id, is_asked=True)
    return str(resumed)


async def _typed() -> str:
    """A line, which the terminal gives as a whole; Ctrl-C is heard meanwhile."""
    loop, is_there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), is_there.set)
    try:
        await is_there.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


async def _named(client: Client, text: str) -> Properties:
    _, path = await sessions.resolve(client, text)
    return await client.properties(SESSION, path)


async def _ended(client: Client) -> list[Properties]:
    return [s for s in await sessions.everything(client, ended=True) if s["State"] == "ended"]


async def _unwanted_ends(client: Client) -> list[Properties]:
    """The latest session of each conversation, if that ended so, and none goes on with it."""
    everything = await sessions.everything(client, ended=True)
    latest: dict[object, Properties] = {}
    for session in sorted(everything, key=lambda s: (s["State"] != "ended", s["EndedUSec"])):
        conversation = session["UID"], session["Agent"], session["AgentSessionId"] or session["Id"]
        latest[conversation] = session
    return [s for s in latest.values() if s["EndedReason"] in UNWANTED and s["Resumable"]]


async def _show(client: Client, args: Namespace) -> None:
    found = [session for session in await _ended(client) if session["Resumable"]]
    if "json" in args:
        print(sessions.as_json(found))
        return
    is_legend = "no_legend" not in args
    lines = roll.render(found, now=time.time_ns() // 1000, legend=is_legend, room=table.room())
    if not found and is_legend:
        lines = ["No session can be resumed."]
    if lines:
        table.show(lines, pager="no_pager" not in args)


# In the very pane of the session


def _is_here(session: Properties) -> bool:
    """Whether a shell waits for us in its pane: that shell is what is going to start it."""
    socket = os.environ.get("TMUX", "").partition(",")[0]
    here = f"tmux:{socket}:{os.environ.get('TMUX_PANE', '')}"
    if not socket or session["Terminal"] != here or os.getpgrp() != os.getpid():
        return False  # no job of our own: a script, or the notice that an end leaves in a pane
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _go_on_apart(args: Namespace, session_ids: list[str]) -> None:
    """Let the shell have its terminal, and go on behind it; only what goes wrong is shown."""
    from .main import where_of

    command = program("musterd.ctl.main", "resume", *(["--yes"] if args.yes else []), *session_ids)
    environ = {**os.environ, "MUSTERD_BUS": where_of(args).address}
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
    os.posix_spawn(sys.executable, command, environ, file_actions=quiet, setsid=True)
