"""`register`: puts a session on the roll and prints its id."""

import os
from argparse import Namespace

from dbus_fast import Variant

from .client import Client
from .failure import Misused
from .sessions import as_json

_TEXTS = ("agent", "cwd", "agent_session_id", "transcript", "terminal", "title")


async def run(client: Client, args: Namespace) -> None:
    session_id, _ = await client.manager("RegisterSession", "a{sv}", spec(args))
    print(as_json({"Id": session_id}) if "json" in args else session_id)


def spec(args: Namespace) -> dict[str, Variant]:
    """What the options say; nothing that they do not."""
    options = vars(args)
    texts = {name.replace("_", "-"): options[name] for name in _TEXTS if options[name]}
    found = {key: Variant("s", value) for key, value in texts.items()}
    if args.on_host:
        found["host"] = Variant("s", args.on_host)
    else:
        found["pid"] = Variant("u", _pid(args.pid))
    if args.label:
        found["labels"] = Variant("as", args.label)
    if args.rest:
        found["resume-command"] = Variant("as", args.rest)
    return found


def _pid(text: str | None) -> int:
    """Whoever runs musterctl, unless another is named: musterctl itself is gone in a moment."""
    if text is None:
        return os.getppid()
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise Misused(f"'{text}' is not a process id.")
    return int(text)
