"""The gates: each a reason to keep a session. A gate answers pass, keep, or unknown, which keeps, too.

Order matters: the first gate that does not pass is what the user is told. `CASE_GATES` are about one
session; a session that only `WORLD_GATES` hold is eligible.
"""

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase

from musterd.core.case import Case, Finding, Mode, Outcome, World
from musterd.core.evidence import Child, NativeState, Unknown
from musterd.core.inhibitor import What, blocking
from musterd.core.pressure import Tier
from musterd.core.session import Session, State
from musterd.core.turn import Subagent, Turn
from musterd.core.units import USEC_PER_SEC, USEC_PER_TICK, span

_HOUR = 3600 * USEC_PER_SEC

# A subagent that says nothing through a later turn of its parent, nor for this long, has ended, and the word
# of that was lost. Its tools would be children and its model calls be told; but one tool may take hours.
SUBAGENT_SILENCE = 24 * _HOUR

# A helper may tick over between two looks (time-outs, keep-alives), but needs less of one core than this.
HELPER_CPU_SHARE = 0.02

# A reap that was cancelled is not tried again before that many pauses: what kept it once will again.
BACKOFF = 10

# Programs there this soon after the agent, before its first turn, are its furniture (MCP servers and such).
BASELINE_USEC = 30 * USEC_PER_SEC

# Start times are whole clock ticks, and a prompt is recorded a little after it was taken: what started this
# close before the first turn may as well be its work.
BASELINE_MARGIN = 1 * USEC_PER_SEC

# A record is written with the word, or soon after. Where it is older, the clock was set back in between.
RECORD_LAG = 5 * USEC_PER_SEC


def _pass(evidence: str, at: int = 0) -> Finding:
    return Finding(Outcome.PASS, evidence, at)


def _keep(evidence: str, at: int = 0) -> Finding:
    return Finding(Outcome.KEEP, evidence, at)


def _unknown(evidence: str, at: int = 0) -> Finding:
    return Finding(Outcome.UNKNOWN, evidence, at)


# Gates about the session


def protected(case: Case) -> Finding:
    if case.session.protected:
        return _keep("pinned by its user")
    if case.is_ours:
        return _keep("the daemon itself runs in it")
    pattern = next((p for p in case.config.protect if _matches(p, case.session)), None)
    return _keep(f"configured: '{pattern}'") if pattern else _pass("not protected")


def _matches(pattern: str, session: Session) -> bool:
    field_name, _, glob = pattern.partition(":")
    text = {"title": session.title, "cwd": session.cwd, "agent": session.agent.value}[field_name]
    return fnmatchcase(text, glob)


def inhibited(case: Case) -> Finding:
    held = blocking(case.inhibitors, What.REAP, case.session)
    if held:
        return _keep(f"inhibited by '{held[0].who}': {held[0].why}")
    return _pass("no block inhibitor")


def identity(case: Case) -> Finding:
    session, seen = case.session, case.look.identity
    if session.leader is None:
        return _unknown("its leader is on another host")
    if isinstance(seen, Unknown):
        return _unknown(seen.why)
    if not seen.process.is_same(session.leader):
        return _keep(f"process {session.leader.pid} is another one now")
    if seen.uid != session.uid:
        return _keep(f"its process runs as user {seen.uid}, not {session.uid}")
    if seen.executable != session.executable:
        return _keep(f"its process runs '{seen.executable}' now")
    if not session.agent_session_id:
        return _unknown("its agent session id is not known")
    if seen.agent_session_id and seen.agent_session_id != session.agent_session_id:
        return _keep(f"the agent itself says that its session is '{seen.agent_session_id}'")
    return _pass(f"process {session.leader.pid}, started at tick {session.leader.start_ticks}", case.look.at)


def unsupported(case: Case) -> Finding:
    if case.unsupported:
        return _keep(case.unsupported)
    return _pass(f"{case.session.agent} {case.session.version} is one that can prove idleness")


def young(case: Case) -> Finding:
    session = case.session
    born = max(session.started_usec, session.resumed_usec)
    age = case.now - born
    if age < 0 or not born:
        return _unknown("its age cannot be told: the clock was set")
    if age < case.config.min_age * USEC_PER_SEC:
        return _keep(f"{span(age)} old, less than {span(case.config.min_age * USEC_PER_SEC)}", born)
    return _pass(f"{span(age)} old", born)


def recovery(case: Case) -> Finding:
    turn = case.session.turn
    if turn.recovering:
        return _keep("a compaction or retry is in flight", turn.recovering)
    return _pass("no compaction or retry in flight", turn.heard)


def waiting(case: Case) -> Finding:
    turn, native = case.session.turn, case.look.native
    if turn.waiting:
        return _keep("it waits for an answer", turn.waiting)
    if not isinstance(native, Unknown) and native and native.state is NativeState.WAITING:
        return _keep("its own status says that it waits", native.at)
    return _pass("nothing is asked", turn.heard)


def turn(case: Case) -> Finding:
    said = case.session.turn
    if not said.settled:
        return _unknown("it has not said yet that a turn ended", said.heard)
    if said.is_working or not said.is_settled:
        return _keep("work began after the last end of a turn", said.started)
    for other in case.session.others:
        if doing := _unrest(other.turn, said, case.now):
            return _keep(
                f"another conversation of its process, '{other.id[:64]}', {doing}", other.turn.heard
            )
    if case.session.state not in (State.IDLE, State.WAITING):
        return _keep(f"its state is {case.session.state}", said.heard)
    return _pass("it said that its turn ended", said.settled)


def _unrest(turn: Turn, current: Turn, now: int) -> str:
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
        "has a subagent at work": _active_subagents(turn, now),
    }
    return next((text for text, is_so in doing.items() if is_so), "")


def native(case: Case) -> Finding:
    status = case.look.native
    if status is None:
        return _pass("this agent publishes no status")
    if isinstance(status, Unknown):
        return _unknown(status.why)
    if status.state is not NativeState.IDLE:
        return _keep(f"its own status is {status.state}", status.at)
    return _pass("its own status is idle", status.at or case.look.at)


def pending(case: Case) -> Finding:
    background = case.session.turn.pending
    if background:
        return _keep(f"background work: {', '.join(background)}", case.session.turn.heard)
    if case.claims:
        return _keep(f"claim not done: {', '.join(case.claims)}")
    screen = case.look.screen
    if screen and not isinstance(screen, Unknown) and screen.has_draft:
        return _keep("text is typed but not sent", case.look.at)
    return _pass("nothing queued, no claim, no draft", case.session.turn.heard)


def subagent(case: Case) -> Finding:
    said = case.session.turn
    active = _active_subagents(said, case.now)
    if active:
        return _keep(f"{len(active)} subagents are active", max(s.heard for s in active))
    if said.subagents:
        return _pass(
            f"silent through later turns, and for hours: {len(said.subagents)} subagents", said.heard
        )
    return _pass("no subagent is active", said.heard)


def _active_subagents(turn: Turn, now: int) -> list[Subagent]:
    return [s for s in turn.subagents if not s.is_overdue or now - s.heard < SUBAGENT_SILENCE]


def children(case: Case) -> Finding:
    seen = case.look.children
    if isinstance(seen, Unknown):
        return _unknown(seen.why)
    strangers = [c for c in seen if not is_helper(c, case.session)]
    if strangers:
        names = ", ".join(f"{c.name} ({c.process.pid})" for c in strangers[:5])
        return _keep(f"children that may be work: {names}", max(c.start_usec for c in strangers))
    if seen and (case.earlier is None or isinstance(case.earlier.children, Unknown)):
        return _unknown("its helpers were looked at only once")
    busy = [c for c in seen if _cpu_share(c, case) > HELPER_CPU_SHARE]
    if busy:
        return _keep(f"helper {busy[0].name} ({busy[0].process.pid}) is at work", case.look.at)
    return _pass(f"{len(seen)} quiet helpers" if seen else "no children", case.look.at)


def is_helper(child: Child, session: Session) -> bool:
    """On the adapter's list; or there before the first turn of a session that was watched from its start."""
    if child.is_helper:
        return True
    if session.leader is None or session.created_usec - session.started_usec >= BASELINE_USEC:
        return False
    # By ticks, which no setting of the clock moves: its time of day is that of the clock as it is set now.
    after_leader = (child.process.start_ticks - session.leader.start_ticks) * USEC_PER_TICK
    first_turn = (session.turn.first or session.created_usec) - BASELINE_MARGIN - session.started_usec
    return after_leader < min(first_turn, BASELINE_USEC)


def _cpu_share(child: Child, case: Case) -> float:
    """Of one core, between the two looks. A helper that was not there before is counted from its start."""
    assert case.earlier is not None
    assert not isinstance(case.earlier.children, Unknown)
    before = next((c for c in case.earlier.children if c.process.is_same(child.process)), None)
    since = case.earlier.at if before else child.start_usec
    elapsed = max(case.look.at - since, 1)
    return (child.cpu_usec - (before.cpu_usec if before else 0)) / elapsed


def transcript(case: Case) -> Finding:
    seen = case.look.transcript
    if seen is None:
        return _unknown("its transcript is not known")
    if isinstance(seen, Unknown):
        return _unknown(seen.why)
    if not seen.is_complete:
        return _keep("its transcript does not parse to the last line", seen.mtime)
    before = case.earlier.transcript if case.earlier else None
    if before is None or isinstance(before, Unknown):
        return _unknown("its transcript was looked at only once", seen.mtime)
    if (before.device, before.inode, before.size) != (seen.device, seen.inode, seen.size):
        return _keep(f"its transcript changed from {before.size} to {seen.size} bytes", seen.mtime)
    if seen.mtime + RECORD_LAG < case.session.turn.settled:
        return _unknown("its transcript is older than the end of its turn: the clock was set", seen.mtime)
    return _pass(f"{seen.size} bytes, unchanged between two looks", seen.mtime)


def screen(case: Case) -> Finding:
    seen = case.look.screen
    if seen is None or isinstance(seen, Unknown):
        why = seen.why if seen else "it has no terminal that can be read"
        has_native = case.look.native is not None and not isinstance(case.look.native, Unknown)
        return (
            _pass(f"not readable ({why}), but it has a status of its own") if has_native else _unknown(why)
        )
    if seen.has_dialog:
        return _keep("a dialog is open", case.look.at)
    before = case.earlier.screen if case.earlier else None
    if before is None or isinstance(before, Unknown):
        return _unknown("its screen was looked at only once", case.look.at)
    if before.digest != seen.digest:
        return _keep("its screen changed between two looks", case.look.at)
    return _pass("unchanged between two looks", case.look.at)


def present(case: Case) -> Finding:
    seen = case.look.presence
    if isinstance(seen, Unknown):
        return _unknown(seen.why)
    if not seen.attached:
        return _pass("nobody is attached", case.look.at)
    ago = case.now - max(seen.last_input, case.clock_stepped)
    if ago < case.config.recent_user * USEC_PER_SEC:
        return _keep(f"somebody typed {span(max(ago, 0))} ago", seen.last_input)
    return _pass(f"attached, but nobody typed for {span(ago)}", seen.last_input)


def quiet(case: Case) -> Finding:
    since = quiet_since(case)
    asked = case.config.quiet_critical if case.tier is Tier.CRITICAL else case.config.quiet_elevated
    past = case.now - since
    if past < 0:
        return _unknown("something happened in the future: the clock was set", since)
    if past < asked * USEC_PER_SEC:
        return _keep(f"quiet for {span(past)}, {span(asked * USEC_PER_SEC)} are asked at {case.tier}", since)
    return _pass(f"quiet for {span(past)}", since)


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
        return _keep("there is no way to resume it")
    if case.twins:
        return _keep(f"session '{case.twins[0]}' has the same conversation open")
    return _pass("'" + " ".join(case.session.resume_command) + "'")


def worktree(case: Case) -> Finding:
    state = case.look.worktree
    if case.config.worktree_policy == "note":
        return _pass(_noted(state))
    if state is None or isinstance(state, Unknown):
        return _unknown(state.why if state else "its directory is looked at when nothing else keeps it")
    return _keep(state, case.look.at) if state else _pass("no uncommitted work", case.look.at)


def _noted(state: str | Unknown | None) -> str:
    if isinstance(state, Unknown):
        return f"not a gate by policy; {state.why}"
    if state is None:
        return "not a gate by policy"
    return f"{state}, by policy not a gate" if state else "no uncommitted work"


# Gates about the machine


def mode(world: World, _case: Case) -> Finding:
    return _keep("the reaper is off") if world.mode is Mode.OFF else _pass(f"the reaper is {world.mode}")


def tier(world: World, _case: Case) -> Finding:
    if world.tier is Tier.NORMAL:
        return _keep("memory pressure is normal")
    return _pass(f"memory pressure is {world.tier}")


def cooldown(world: World, case: Case) -> Finding:
    config = case.config
    # What is dated in the future is of a clock that was set back since: it would keep for ever.
    past = [at for at in {world.last_action, *world.actions} if 0 < at <= world.now]
    latest = max(past, default=0)
    if latest and world.now - latest < config.post_action_delay * USEC_PER_SEC:
        return _keep(f"the last reap was {span(world.now - latest)} ago", latest)
    spent = sum(1 for at in world.actions if 0 <= world.now - at < _HOUR)
    if spent >= config.budget_per_hour:
        return _keep(f"the budget of {config.budget_per_hour} reaps an hour is spent", latest)
    since_refusal = world.now - case.refused
    if case.refused and 0 <= since_refusal < BACKOFF * config.post_action_delay * USEC_PER_SEC:
        return _keep(f"a reap of it was cancelled {span(since_refusal)} ago", case.refused)
    return _pass(f"{spent} of {config.budget_per_hour} reaps this hour")


CASE_GATES: tuple[tuple[str, Callable[[Case], Finding]], ...] = (
    ("protected", protected),
    ("inhibited", inhibited),
    ("identity", identity),
    ("unsupported", unsupported),
    ("young", young),
    ("recovery", recovery),
    ("waiting", waiting),
    ("turn", turn),
    ("native", native),
    ("pending", pending),
    ("subagent", subagent),
    ("children", children),
    ("transcript", transcript),
    ("screen", screen),
    ("present", present),
    ("quiet", quiet),
    ("resumable", resumable),
    ("worktree", worktree),
)

WORLD_GATES: tuple[tuple[str, Callable[[World, Case], Finding]], ...] = (
    ("mode", mode),
    ("tier", tier),
    ("cooldown", cooldown),
)
