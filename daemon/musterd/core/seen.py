"""The gates about what was seen of a session: its process, children, files and screen, and who is there."""

from musterd.core.case import Case, Finding
from musterd.core.evidence import Child, NativeState, Unknown
from musterd.core.finding import kept, passed, unknown
from musterd.core.session import Session
from musterd.core.suspend import awake
from musterd.core.units import USEC_PER_SEC, USEC_PER_TICK, span

# A helper may tick over between two looks (time-outs, keep-alives), but needs less of one core than this.
HELPER_CPU_SHARE = 0.02

# Programs there this soon after the agent, before its first turn, are its furniture (MCP servers and such).
BASELINE_USEC = 30 * USEC_PER_SEC

# Start times are whole clock ticks, and a prompt is recorded a little after it was taken: what started this
# close before the first turn may as well be its work.
BASELINE_MARGIN = 1 * USEC_PER_SEC

# A record is written with the word, or soon after. Where it is older, the clock was set back in between.
RECORD_LAG = 5 * USEC_PER_SEC


def identity(case: Case) -> Finding:
    session, seen = case.session, case.look.identity
    if session.leader is None:
        return unknown("its leader is on another host")
    if isinstance(seen, Unknown):
        return unknown(seen.why)
    if not seen.process.is_same(session.leader):
        return kept(f"process {session.leader.pid} is another one now")
    if seen.uid != session.uid:
        return kept(f"its process runs as user {seen.uid}, not {session.uid}")
    if seen.executable != session.executable:
        return kept(f"its process runs '{seen.executable}' now")
    if not session.agent_session_id:
        return unknown("its agent session id is not known")
    if seen.agent_session_id and seen.agent_session_id != session.agent_session_id:
        return kept(f"the agent itself says that its session is '{seen.agent_session_id}'")
    return passed(
        f"process {session.leader.pid}, started at tick {session.leader.start_ticks}", case.look.at
    )


def native(case: Case) -> Finding:
    status = case.look.native
    if status is None:
        return passed("this agent publishes no status")
    if isinstance(status, Unknown):
        return unknown(status.why)
    if status.state is not NativeState.IDLE:
        return kept(f"its own status is {status.state}", status.at)
    return passed("its own status is idle", status.at or case.look.at)


def children(case: Case) -> Finding:
    seen = case.look.children
    if isinstance(seen, Unknown):
        return unknown(seen.why)
    strangers = [c for c in seen if not is_helper(c, case.session)]
    if strangers:
        names = ", ".join(f"{c.name} ({c.process.pid})" for c in strangers[:5])
        return kept(f"children that may be work: {names}", max(c.start_usec for c in strangers))
    if seen and (case.earlier is None or isinstance(case.earlier.children, Unknown)):
        return unknown("its helpers were looked at only once")
    busy = [c for c in seen if _cpu_share(c, case) > HELPER_CPU_SHARE]
    if busy:
        return kept(f"helper {busy[0].name} ({busy[0].process.pid}) is at work", case.look.at)
    return passed(f"{len(seen)} quiet helpers" if seen else "no children", case.look.at)


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
    elapsed = max(awake(since, case.look.at, case.suspends), 1)
    return (child.cpu_usec - (before.cpu_usec if before else 0)) / elapsed


def transcript(case: Case) -> Finding:
    seen = case.look.transcript
    if seen is None:
        return unknown("its transcript is not known")
    if isinstance(seen, Unknown):
        return unknown(seen.why)
    if not seen.is_complete:
        return kept("its transcript does not parse to the last line", seen.mtime)
    before = case.earlier.transcript if case.earlier else None
    if before is None or isinstance(before, Unknown):
        return unknown("its transcript was looked at only once", seen.mtime)
    if (before.device, before.inode, before.size) != (seen.device, seen.inode, seen.size):
        return kept(f"its transcript changed from {before.size} to {seen.size} bytes", seen.mtime)
    if seen.mtime + RECORD_LAG < case.session.turn.settled:
        return unknown("its transcript is older than the end of its turn: the clock was set", seen.mtime)
    return passed(f"{seen.size} bytes, unchanged between two looks", seen.mtime)


def screen(case: Case) -> Finding:
    seen = case.look.screen
    if seen is None or isinstance(seen, Unknown):
        why = seen.why if seen else "it has no terminal that can be read"
        if case.look.native is None or isinstance(case.look.native, Unknown):
            return unknown(why)
        return passed(f"not readable ({why}), but it has a status of its own")
    if seen.has_dialog:
        return kept("a dialog is open", case.look.at)
    before = case.earlier.screen if case.earlier else None
    if before is None or isinstance(before, Unknown):
        return unknown("its screen was looked at only once", case.look.at)
    if before.digest != seen.digest:
        return kept("its screen changed between two looks", case.look.at)
    return passed("unchanged between two looks", case.look.at)


def present(case: Case) -> Finding:
    seen = case.look.presence
    if isinstance(seen, Unknown):
        return unknown(seen.why)
    if not seen.attached:
        return passed("nobody is attached", case.look.at)
    ago = case.awake(max(seen.last_input, case.clock_stepped))
    if ago < case.config.recent_user * USEC_PER_SEC:
        return kept(f"somebody typed {span(max(ago, 0))} ago", seen.last_input)
    return passed(f"attached, but nobody typed for {span(ago)}", seen.last_input)
