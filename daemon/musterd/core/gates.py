"""The gates: each a reason to keep a session. A gate answers pass, keep, or unknown, which keeps, too.

Order matters: the first gate that does not pass is what the user is told. `CASE_GATES` are about one
session; a session that only `WORLD_GATES` hold is eligible.
"""

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase

from musterd.core import seen
from musterd.core.case import Case, Finding, Mode, World
from musterd.core.evidence import NativeState, Unknown
from musterd.core.finding import kept, passed, unknown
from musterd.core.inhibitor import What, blocking
from musterd.core.pressure import Tier
from musterd.core.session import Session, State
from musterd.core.turn import Subagent, Turn
from musterd.core.units import USEC_PER_HOUR, USEC_PER_SEC, span

# After a reap that did not come off it is left alone for that many pauses: what kept it once will again.
BACKOFF = 10

# A subagent that says nothing through a later turn of its parent, nor for this long, has ended, and the word
# of that was lost. Its tools would be children and its model calls be told; but one tool may take hours.
SUBAGENT_SILENCE = 24 * USEC_PER_HOUR


def protected(case: Case) -> Finding:
    if case.session.protected:
        return kept("pinned by its user")
    if case.is_ours:
        return kept("the daemon itself runs in it")
    pattern = next((p for p in case.config.protect if _matches(p, case.session)), None)
    return kept(f"configured: '{pattern}'") if pattern else passed("not protected")


def _matches(pattern: str, session: Session) -> bool:
    field_name, _, glob = pattern.partition(":")
    text = {"title": session.title, "cwd": session.cwd, "agent": session.agent.value}[field_name]
    return fnmatchcase(text, glob)


def inhibited(case: Case) -> Finding:
    held = blocking(case.inhibitors, What.REAP, case.session)
    if held:
        return kept(f"inhibited by '{held[0].who}': {held[0].why}")
    return passed("no block inhibitor")


def unsupported(case: Case) -> Finding:
    if case.unsupported:
        return kept(case.unsupported)
    return passed(f"{case.session.agent} {case.session.version} is one that can prove idleness")


def young(case: Case) -> Finding:
    session = case.session
    born = max(session.started_usec, session.resumed_usec)
    age = case.awake(born)
    if age < 0 or not born:
        return unknown("its age cannot be told: the clock was set")
    if age < case.config.min_age * USEC_PER_SEC:
        return kept(f"{span(age)} old, less than {span(case.config.min_age * USEC_PER_SEC)}", born)
    return passed(f"{span(age)} old", born)


def recovery(case: Case) -> Finding:
    turn = case.session.turn
    if turn.recovering:
        return kept("a compaction or retry is in flight", turn.recovering)
    return passed("no compaction or retry in flight", turn.heard)


def waiting(case: Case) -> Finding:
    turn, native = case.session.turn, case.look.native
    if turn.waiting:
        return kept("it waits for an answer", turn.waiting)
    if not isinstance(native, Unknown) and native and native.state is NativeState.WAITING:
        return kept("its own status says that it waits", native.at)
    return passed("nothing is asked", turn.heard)


def turn(case: Case) -> Finding:
    said = case.session.turn
    if not said.settled:
        return unknown("it has not said yet that a turn ended", said.heard)
    if _has_no_order(said, case) or any(_has_no_order(other.turn, case) for other in case.session.others):
        return unknown(
            "the clock was set back: work may have begun after the last end of a turn", said.settled
        )
    if said.is_working or not said.is_settled:
        return kept("work began after the last end of a turn", said.started)
    for other in case.session.others:
        if doing := _unrest(other.turn, said, case):
            return kept(f"another conversation of its process, '{other.id[:64]}', {doing}", other.turn.heard)
    if case.session.state not in (State.IDLE, State.WAITING):
        return kept(f"its state is {case.session.state}", said.heard)
    return passed("it said that its turn ended", said.settled)


def _has_no_order(turn: Turn, case: Case) -> bool:
    """Whether a turn may have begun since with a stamp that is older: it was taken for one told late."""
    first, last = case.clock_twice
    return first <= max(turn.ended, turn.settled) <= last and last > 0


def _unrest(turn: Turn, current: Turn, case: Case) -> str:
    """What keeps another conversation from being at rest; "" if nothing does."""
    # It has no later turns any more: those of the conversation that came in its place count instead.
    last = max((s.heard for s in turn.subagents), default=0)
    if max(last, turn.last_word) < current.started < current.settled:
        turn = replace(turn, subagents=tuple(replace(s, is_overdue=True) for s in turn.subagents))
    doing = {
        "waits for an answer": turn.waiting,
        "is at work": turn.is_working,
        "compacts or retries": turn.recovering,
        "has background work": turn.pending,
        "has a subagent at work": _active_subagents(turn, case),
    }
    return next((text for text, is_so in doing.items() if is_so), "")


def pending(case: Case) -> Finding:
    background = case.session.turn.pending
    if background:
        return kept(f"background work: {', '.join(background)}", case.session.turn.heard)
    if case.claims:
        return kept(f"claim not done: {', '.join(case.claims)}")
    screen = case.look.screen
    if screen and not isinstance(screen, Unknown) and screen.has_draft:
        return kept("text is typed but not sent", case.look.at)
    queued = case.look.queued
    if isinstance(queued, Unknown):
        return unknown(queued.why, case.look.at)
    if queued:
        return kept(f"{queued} inputs wait in its queue", case.look.at)
    return passed("nothing queued, no claim, no draft", case.session.turn.heard)


def subagent(case: Case) -> Finding:
    said = case.session.turn
    active = _active_subagents(said, case)
    if active:
        return kept(f"{len(active)} subagents are active", max(s.heard for s in active))
    if said.subagents:
        return passed(
            f"silent through later turns, and for hours: {len(said.subagents)} subagents", said.heard
        )
    return passed("no subagent is active", said.heard)


def _active_subagents(turn: Turn, case: Case) -> list[Subagent]:
    return [s for s in turn.subagents if not s.is_overdue or case.awake(s.heard) < SUBAGENT_SILENCE]


def quiet(case: Case) -> Finding:
    since = quiet_since(case)
    asked = case.config.quiet_critical if case.tier is Tier.CRITICAL else case.config.quiet_elevated
    past = case.awake(since)
    if past < 0:
        return unknown("something happened in the future: the clock was set", since)
    if past < asked * USEC_PER_SEC:
        return kept(f"quiet for {span(past)}, {span(asked * USEC_PER_SEC)} are asked at {case.tier}", since)
    return passed(f"quiet for {span(past)}", since)


def quiet_since(case: Case) -> int:
    """The latest of all that happened in it."""
    look, session = case.look, case.session
    times = [session.last_activity_usec, session.resumed_usec, case.clock_stepped]
    if look.transcript and not isinstance(look.transcript, Unknown):
        times.append(look.transcript.mtime)
    if not isinstance(look.presence, Unknown):
        times.append(look.presence.last_input)
    if not isinstance(look.children, Unknown):
        times += [child.start_usec for child in look.children]
    if look.native and not isinstance(look.native, Unknown):
        times.append(look.native.at)
    return max(times)


def resumable(case: Case) -> Finding:
    if not case.session.resume_command:
        return kept("there is no way to resume it")
    if case.twins:
        return kept(f"session '{case.twins[0]}' has the same conversation open")
    return passed("'" + " ".join(case.session.resume_command) + "'")


def worktree(case: Case) -> Finding:
    state = case.look.worktree
    if case.config.worktree_policy == "note":
        return passed(_noted(state))
    if state is None or isinstance(state, Unknown):
        return unknown(state.why if state else "its directory is looked at when nothing else keeps it")
    return kept(state, case.look.at) if state else passed("no uncommitted work", case.look.at)


def _noted(state: str | Unknown | None) -> str:
    if isinstance(state, Unknown):
        return f"not a gate by policy; {state.why}"
    if state is None:
        return "not a gate by policy"
    return f"{state}, by policy not a gate" if state else "no uncommitted work"


# Gates about the machine


def mode(world: World, _case: Case) -> Finding:
    return kept("the reaper is off") if world.mode is Mode.OFF else passed(f"the reaper is {world.mode}")


def tier(world: World, _case: Case) -> Finding:
    if world.tier is Tier.NORMAL:
        return kept("memory pressure is normal")
    return passed(f"memory pressure is {world.tier}")


def cooldown(world: World, case: Case) -> Finding:
    config = case.config
    # A suspend relieves nothing, and in it nobody sees what was done: neither a pause nor an hour passes.
    latest = min(world.acted, default=USEC_PER_HOUR)
    if world.acted and latest < config.post_action_delay * USEC_PER_SEC:
        return kept(f"the last reap was {span(latest)} ago", case.now - latest)
    spent = sum(1 for ago in world.acted if ago < USEC_PER_HOUR)
    if spent >= config.budget_per_hour:
        return kept(f"the budget of {config.budget_per_hour} reaps an hour is spent", case.now - latest)
    since_refusal = case.elapsed(case.refused)
    if case.refused and since_refusal < BACKOFF * config.post_action_delay * USEC_PER_SEC:
        return kept(f"a reap of it did not come off, {span(since_refusal)} ago", case.refused)
    return passed(f"{spent} of {config.budget_per_hour} reaps this hour")


CASE_GATES: tuple[tuple[str, Callable[[Case], Finding]], ...] = (
    ("protected", protected),
    ("inhibited", inhibited),
    ("identity", seen.identity),
    ("unsupported", unsupported),
    ("young", young),
    ("recovery", recovery),
    ("waiting", waiting),
    ("turn", turn),
    ("native", seen.native),
    ("pending", pending),
    ("subagent", subagent),
    ("children", seen.children),
    ("transcript", seen.transcript),
    ("screen", seen.screen),
    ("present", seen.present),
    ("quiet", quiet),
    ("resumable", resumable),
    ("worktree", worktree),
)

WORLD_GATES: tuple[tuple[str, Callable[[World, Case], Finding]], ...] = (
    ("mode", mode),
    ("tier", tier),
    ("cooldown", cooldown),
)
