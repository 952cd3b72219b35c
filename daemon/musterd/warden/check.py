"""The operator's own check of a session: a program of the user, with a deadline for all that it starts."""

import asyncio
import logging
import secrets
import select
import signal
import time
from collections.abc import Sequence

from musterd.core.errors import reason
from musterd.core.session import Session
from musterd.host.kill import Grip
from musterd.host.lines import one_line
from musterd.host.process import HeldProcess, Stat, read_environ, ticks_now
from musterd.host.programs import Answer, ask, user_environ
from musterd.host.table import Table

logger = logging.getLogger(__name__)

REASON_LIMIT = 4096  # bytes of what it prints that are told; what stands behind is not
OUTPUT_LIMIT = 1024 * 1024  # bytes after which it is ended

CONTENT, HOLD = 0, 1  # exit status

_MARK = "MUSTERD_CHECK"  # in the environment of all that a check starts: which run it was
_ROUNDS = 3  # what forks while it is ended takes another
_KILL_PATIENCE = 0.1  # seconds from SIGKILL


class Unclear(Exception):
    """The check has said neither yes nor no; the text says why."""


async def check(session: Session, command: Sequence[str]) -> str:
    """Why the session is to be held; "" if the check is content. Unclear.

    However it is left, as by a deadline: what it has started is ended before.
    """
    if "=" in command[0]:
        # env(1) takes it for a variable.
        raise Unclear(f"'{one_line(command[0], 64)}' is no name of a program")
    mark, since = secrets.token_hex(8), ticks_now()
    try:
        answer = await _run(session, command, mark)
    except (OSError, ValueError) as exc:
        raise Unclear(f"the check cannot be run: {reason(exc)}") from exc
    finally:
        # Shielded, and a thread's from end to end: who asks may lose patience a second time.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _end_all, mark, since))
    return _reason(answer)


async def _run(session: Session, command: Sequence[str], mark: str) -> Answer:
    environ = {
        **user_environ(session.uid),
        _MARK: mark,
        "MUSTERD_CHECK_SESSION": session.id,
        "MUSTERD_CHECK_AGENT": session.agent,
        "MUSTERD_CHECK_AGENT_SESSION": session.agent_session_id,
    }
    words = "env", f"--chdir={session.cwd or '/'}", "--", *command
    return await ask(*words, environ=environ, limit=OUTPUT_LIMIT, uid=session.uid)


def _reason(answer: Answer) -> str:
    if answer.is_cut:
        raise Unclear(f"the check wrote more than {OUTPUT_LIMIT} bytes")
    if answer.status == CONTENT:
        return ""
    if answer.status != HOLD:
        raise Unclear(f"the check ended with status {answer.status}")
    text = answer.output[:REASON_LIMIT].decode(errors="replace")
    lines = (one_line(line.strip()) for line in text.splitlines())
    said = one_line("; ".join(line for line in lines if line))
    return said or "the operator's check holds it, and says no more"


def _end_all(mark: str, since: int) -> None:
    """What left the process group of the check still has its mark."""
    try:
        with Grip() as grip:
            for _ in range(_ROUNDS):
                grip.take(_marked(mark, since))
                if not grip.send(signal.SIGKILL):
                    return
                _wait_for(grip.alive)
    except OSError as exc:
        logger.warning("Cannot end what a check has started: %s, ignoring", exc.strerror)


def _wait_for(processes: Sequence[HeldProcess]) -> None:
    until = time.monotonic() + _KILL_PATIENCE
    for held in processes:
        ended = select.poll()
        ended.register(held.fileno(), select.POLLIN)
        ended.poll(max(0.0, until - time.monotonic()) * 1000)


def _marked(mark: str, since: int) -> list[Stat]:
    rows = [row for row in Table.read().rows.values() if row.start_ticks >= since and not row.has_ended]
    return [row for row in rows if read_environ(row.pid, [_MARK]).get(_MARK) == mark]
