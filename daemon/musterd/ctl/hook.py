"""`hook`: what stands between an agent and the daemon. It fails open, in time, and without a word.

One ReportEvent call, one deadline for everything, exit status 0 always. Whatever goes wrong, the agent reads
what "nothing to say" is in its dialect, and one line goes to the system log.
"""

import json
import os
import re
import signal
import syslog
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from typing import NoReturn

DEADLINE = 1.5  # seconds, from start-up to answer; MUSTERD_HOOK_TIMEOUT says otherwise
MAX_PAYLOAD = 256 * 1024  # bytes


class _CannotReport(Exception):
    pass


def run_hook(own: Sequence[str]) -> NoReturn:
    args = _parse(own)
    if args is None:
        _leave("", "called wrongly")
    nothing, deadline = _nothing_to_say(args.agent, args.event), patience()
    signal.signal(signal.SIGALRM, lambda *_: _leave(nothing, f"no answer within {deadline:g} s"))
    signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        output = _report(args, _payload())
    except BaseException as exc:  # noqa: BLE001 - no traceback may ever reach an agent
        signal.setitimer(signal.ITIMER_REAL, 0)
        _leave(nothing, f"{type(exc).__name__}: {exc}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    _leave(output, "")


def _parse(own: Sequence[str]) -> Namespace | None:
    from .parser import build

    with open(os.devnull, "w") as quiet, redirect_stderr(quiet), suppress(SystemExit):
        if "-h" not in own and "--help" not in own:
            return build().parse_args(own)
    if "-h" in own or "--help" in own:
        build().parse_args(own)  # prints, and exits
    return None


def patience() -> float:
    """Seconds that a hook waits here. What is no plain number above 0 says nothing, as in musterd-hook."""
    given = os.environ.get("MUSTERD_HOOK_TIMEOUT", "")
    is_number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", given) and len(given) < 8
    return (float(given) if is_number else 0) or DEADLINE


def _nothing_to_say(agent: str, event: str) -> str:
    """In the agent's own dialect; an unknown agent is told nothing at all."""
    try:
        from musterd.agents.catalog import ADAPTERS
        from musterd.core.session import Agent

        return ADAPTERS[Agent(agent)].nothing_to_say(event)
    except Exception:  # noqa: BLE001 - whatever is wrong with an adapter, the agent goes on
        return ""


def _payload() -> str:
    """The hook's own JSON from stdin, as a shell takes it: without NULs, and line breaks at its end."""
    data = b""
    while len(data) <= MAX_PAYLOAD and (more := os.read(0, MAX_PAYLOAD + 1 - len(data))):
        data += more
    data = data.replace(b"\0", b"").rstrip(b"\n")
    if len(data) > MAX_PAYLOAD:
        raise _CannotReport(f"the hook's input has more than {MAX_PAYLOAD} bytes")
    text = data.decode()
    json.loads(text)
    return text


def _report(args: Namespace, payload: str) -> str:
    import asyncio

    from .client import connect
    from .main import where_of

    async def report() -> str:
        async with connect(where_of(args)) as client:
            _, output = await client.manager("ReportEvent", "sss", args.agent, args.event, payload)
            return str(output)

    return asyncio.run(report())


def _leave(output: str, trouble: str) -> NoReturn:
    """Print and end at once: neither a late exception nor a lingering thread may change what was said."""
    if trouble:
        _note(trouble)
    with suppress(OSError):
        data = output.encode(errors="replace")
        while data:
            data = data[os.write(1, data) :]
    os._exit(0)


def _note(trouble: str) -> None:
    from .text import printable

    syslog.openlog("musterctl", syslog.LOG_PID, syslog.LOG_USER)
    syslog.syslog(syslog.LOG_WARNING, f"Hook not reported ({printable(trouble)[:500]}), ignoring")
