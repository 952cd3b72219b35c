"""`release`, `heartbeat`, `protect`, `unprotect`, `terminate`: a call for each session, silent when done."""

from argparse import Namespace

from . import sessions
from .client import Client

ORDER_TIMEOUT = 90.0  # seconds: an end asks first, and waits before it insists

_CALLS: dict[str, tuple[str, str, tuple[bool, ...]]] = {  # verb: method, signature, what follows the id
    "release": ("ReleaseSession", "s", ()),
    "heartbeat": ("Heartbeat", "s", ()),
    "protect": ("SetProtected", "sb", (True,)),
    "unprotect": ("SetProtected", "sb", (False,)),
    "terminate": ("TerminateSession", "ss", ()),
}


async def run(client: Client, args: Namespace) -> None:
    """All names are looked up before anything is done to one of them."""
    method, signature, rest = _CALLS[args.verb]
    reason = (args.why or "ordered by hand",) if args.verb == "terminate" else ()
    meant = [await sessions.resolve(client, text) for text in args.ids or ["."]]
    for session_id, _ in meant:
        await client.manager(method, signature, session_id, *rest, *reason, ask=True, within=ORDER_TIMEOUT)
