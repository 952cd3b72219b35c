"""What changed at a session between two looks: at the last moment, anything at all keeps it."""

from musterd.core.evidence import Observation, Presence, Screen, Transcript, Unknown
from musterd.warden.follower import Follower
from musterd.warden.kin import Kin


def difference(then: Observation, now: Observation) -> str:
    """What changed from one look to the other, or cannot be told now; "" if nothing did."""
    if isinstance(now.identity, Unknown) or isinstance(now.children, Unknown):
        return "it cannot be looked at any more"
    if now.identity != then.identity:
        return "its process is another one"
    if _file(now.transcript) != _file(then.transcript):
        return "its transcript changed"
    if now.queued != then.queued:
        return "its queue changed"
    if now.native != then.native:
        return "its own status changed"
    if isinstance(then.children, Unknown) or _pids(now) != _pids(then):
        return "its children changed"
    if isinstance(now.screen, Screen) and (now.screen.has_dialog or now.screen.has_draft):
        return "its screen shows a dialog or a draft"
    if _screen(now) != _screen(then):
        return "its screen changed"
    if _typed(now) > _typed(then):
        return "somebody typed, or may have just now"
    return ""


def unseen(kin: Kin, follower: Follower, look: Observation) -> str:
    """What would be ended although no look has seen it."""
    children = () if isinstance(look.children, Unknown) else look.children
    known = {child.process.pid for child in children} | {follower.process.pid}
    known |= {follower.launcher.pid} if follower.launcher else set()
    return next((f"'{row.comm}' ({row.pid}) started" for row in kin.rows if row.pid not in known), "")


def _file(transcript: Transcript | Unknown | None) -> object:
    """Unreadable is unlike anything, but itself."""
    if isinstance(transcript, Transcript):
        return transcript.device, transcript.inode, transcript.size
    return transcript


def _pids(look: Observation) -> set[tuple[int, int]]:
    assert not isinstance(look.children, Unknown)
    return {(child.process.pid, child.process.start_ticks) for child in look.children}


def _screen(look: Observation) -> object:
    return "unknown" if isinstance(look.screen, Unknown) else look.screen


def _typed(look: Observation) -> int:
    return look.presence.last_input if isinstance(look.presence, Presence) else 0
