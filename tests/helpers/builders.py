"""Sessions and looks for tests: everything passes unless the test says otherwise."""

from dataclasses import replace
from typing import Any

from musterd.core.case import Case, Mode, World
from musterd.core.claim import Claim, ClaimId, Owner
from musterd.core.config import ReaperConfig
from musterd.core.event import AgentEvent, EventKind
from musterd.core.evidence import Child, Identity, Observation, Presence, Screen, Transcript, Usage, Work
from musterd.core.pressure import Tier
from musterd.core.session import Agent, PidRef, Session, SessionId, Source, State
from musterd.core.stopgate import Stop
from musterd.core.turn import Turn

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_800_000_000 * SECOND
BOOT = "11111111-2222-3333-4444-555555555555"
LEADER = PidRef(4711, 1234, BOOT, 99)


def session(**changes: Any) -> Session:
    """Idle for an hour, two hours old, of an agent that can prove it."""
    start = NOW - 120 * MINUTE
    idle = Session(
        id=SessionId("abcdef"),
        agent=Agent.CODEX,
        uid=1000,
        leader=LEADER,
        cwd="/srv/work",
        agent_session_id="thread-1",
        transcript="/home/u/rollout.jsonl",
        terminal="tmux:/tmp/tmux-1000/default:%1",
        resume_command=("codex", "resume", "thread-1"),
        version="0.169.0",
        executable="/opt/codex",
        started_usec=start,
        created_usec=start + SECOND,
        state=State.IDLE,
        state_source=Source.HOOK,
        turn=Turn(
            started=NOW - 61 * MINUTE,
            ended=NOW - 60 * MINUTE,
            settled=NOW - 60 * MINUTE,
            heard=NOW - 60 * MINUTE,
            first=NOW - 100 * MINUTE,
        ),
    )
    return replace(idle, **changes)


def look(**changes: Any) -> Observation:
    """Nothing has changed for an hour, nobody is there."""
    quiet = Observation(
        at=NOW,
        identity=Identity(LEADER, 1000, "/opt/codex", "thread-1"),
        native=None,
        transcript=Transcript(1, 2, 3000, NOW - 60 * MINUTE, is_complete=True),
        screen=Screen("digest"),
        children=(),
        presence=Presence(attached=False, last_input=0),
        usage=Usage(memory=300, private=200, cpu_usec=5, tasks=2),
    )
    return replace(quiet, **changes)


def child(
    name: str = "node", *, helper: bool, age: int = 110 * MINUTE, cpu: int = 0, pid: int = 5000
) -> Child:
    ticks = LEADER.start_ticks + (120 * MINUTE - age) // 10_000
    return Child(PidRef(pid, ticks, BOOT), name, NOW - age, cpu, helper)


def case(**changes: Any) -> Case:
    reapable = Case(
        session=session(),
        look=look(),
        earlier=look(at=NOW - 30 * SECOND),
        config=ReaperConfig(),
        tier=Tier.CRITICAL,
        now=NOW,
    )
    return replace(reapable, **changes)


def world(**changes: Any) -> World:
    return replace(World(mode=Mode.DRY_RUN, tier=Tier.CRITICAL), **changes)


def working() -> Turn:
    """A prompt was taken, and work goes on."""
    return Turn(started=NOW - SECOND, first=NOW - 100 * MINUTE, heard=NOW - SECOND, settled=NOW - MINUTE)


def claim(**changes: Any) -> Claim:
    """Active, and stamped by `session()`."""
    owner = Owner.of(session(), NOW - 30 * MINUTE)
    return replace(Claim(ClaimId("c1"), 1000, "tidy up", owner=owner, created_usec=owner.at), **changes)


def stop(**changes: Any) -> Stop:
    """One that is held."""
    held = Stop(
        session=session(state=State.BUSY, turn=working()),
        event=AgentEvent(EventKind.STOP, NOW, agent_session_id="thread-1"),
        claims=[claim()],
        work=Work(),
        now=NOW,
    )
    return replace(held, **changes)
