"""`release`, `heartbeat`, `protect`, `unprotect`: one call for each session named, silent when done."""

from argparse import Namespace

from . import sessions
from .client import Client

_CALLS: dict[str, tuple[str, str, tuple[bool, ...]]] = {  # verb: method, signature, what follows the id
    "release": ("ReleaseSession", "s", ()),
    "heartbeat": ("Heartbeat", "s", ()),
    "protect": ("SetProtected", "sb", (True,)),
    "unprotect": ("SetProtected", "sb", (False,)),
}


async def run(client: Client, args: Namespace) -> None:
    """All names are looked up before anything is done to one of them."""
    method, signature, rest = _CALLS[args.verb]
    meant = [await sessions.resolve(client, text) for text in args.ids or ["."]]
    for session_id, _ in meant:
        await client.manager(method, signature, session_id, *rest, ask=True)
