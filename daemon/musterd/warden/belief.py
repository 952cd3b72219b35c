"""What the daemon believes of what a warden says: nothing about another user than its own.

The kernel is asked for what everybody may ask: who a process belongs to, and when it began. Nothing that a
user controls is opened for it.
"""

import os
from collections.abc import Iterable
from dataclasses import replace

from musterd.agents.base import ProcessFacts
from musterd.core.errors import Failed, NoSuchSession
from musterd.core.evidence import Usage
from musterd.host.process import HeldProcess, read_uid
from musterd.warden_port import Leader

TEXT = 4096  # bytes of what a leader tells of itself, as of what a caller may say
COMMAND = 64 * 1024  # bytes of its command line
TASKS = 2**22  # PID_MAX_LIMIT (proc_sys_kernel(5))


class Nonsense(ValueError):
    """It cannot be; who says so is not believed any further."""


def checked_leader(leader: Leader, uid: int) -> Leader:
    """As the kernel has it. Raises Nonsense for a process of another user, NoSuchSession if it has ended."""
    facts = leader.facts
    if facts.uid != uid:
        raise Nonsense(f"process {facts.pid} would be of user {facts.uid}")
    if (facts.pid, facts.start_ticks) != (leader.process.pid, leader.process.start_ticks):
        raise Nonsense(f"process {leader.process.pid} would be two")
    _check_sizes(leader, facts)
    try:
        with HeldProcess(leader.process.pid) as held:
            owner = read_uid(leader.process.pid)
            if held.has_ended or not held.ref.is_same(leader.process):
                raise NoSuchSession(f"Process {leader.process.pid} has ended.")
            leader = replace(leader, process=held.ref)
    except ProcessLookupError as exc:
        raise _hidden_or_gone(leader.process.pid) from exc
    except OSError as exc:
        raise Failed(f"Process {leader.process.pid} cannot be looked at: {exc.strerror}.") from exc
    if owner < 0:
        raise _hidden(leader.process.pid)
    if owner != uid:
        raise Nonsense(f"process {leader.process.pid} is of user {owner}")
    return leader


def check_usage(usage: Usage) -> None:
    if usage.tasks > TASKS:
        raise Nonsense(f"a session would have {usage.tasks} tasks")


def _check_sizes(leader: Leader, facts: ProcessFacts) -> None:
    own = leader.scope, leader.version, leader.terminal, leader.transcript, leader.mark
    if _longest((*own, leader.agent_session_id, facts.executable, facts.comm, facts.cwd)) > TEXT:
        raise Nonsense(f"process {facts.pid} tells too much of itself")
    for words in (facts.argv, leader.environ, tuple(facts.environ.values())):
        if sum(len(word.encode()) for word in words) > COMMAND:
            raise Nonsense(f"the command line or environment of process {facts.pid} is too long")


def _longest(texts: Iterable[str]) -> int:
    return max(len(text.encode()) for text in texts)


def _hidden_or_gone(pid: int) -> Failed | NoSuchSession:
    try:
        os.close(os.pidfd_open(pid))
    except OSError:
        return NoSuchSession(f"Process {pid} has ended.")
    return _hidden(pid)


def _hidden(pid: int) -> Failed:
    return Failed(f"Process {pid} is hidden from musterd: /proc must not be mounted with hidepid=.")
