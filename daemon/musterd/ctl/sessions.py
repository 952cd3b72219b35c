"""Sessions as the bus shows them: one by id or its beginning, or all with their properties."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from musterd.bus.names import OBJECT_MANAGER, PROPERTIES, SESSION, session_path

from .client import Client, Properties, gather, plain
from .failure import PASSWORD_REQUIRED, CtlError, NoDaemon

PAGE = 500  # rows a call; an answer has at most 256 KiB
_GONE = ("NoSuchSession", "UnknownObject", "UnknownInterface")  # it ended between two calls

Listed = tuple[str, str, int, str, str, str]  # id, agent, uid, state, cwd, path


async def listed(client: Client, member: str = "ListSessionsPage") -> list[Listed]:
    """All that the caller may see, page by page."""
    rows: list[Listed] = []
    while True:
        page, total = await client.manager(member, "uu", len(rows), PAGE)
        rows += [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in page]
        if not page or len(rows) >= total:
            return rows


async def everything(client: Client, *, ended: bool = False) -> list[Properties]:
    """The properties of all sessions on the roll, oldest first; then, if asked, of those that ended."""
    current = await _current(client)
    if ended:
        rows = await listed(client, "ListEndedSessions")
        current += await _of_each(client, [row[5] for row in rows])
    return list({session["Id"]: session for session in current}.values())  # one may end between two calls


async def _current(client: Client) -> list[Properties]:
    """In one call, or, where the roll is too long for one answer, one by one."""
    try:
        (objects,) = await client.call(OBJECT_MANAGER, "GetManagedObjects")
    except CtlError as exc:
        if exc.name != "LimitReached":
            raise
        return await _of_each(client, [row[5] for row in await listed(client)])
    found: list[Properties] = [
        plain(interfaces[SESSION]) for interfaces in objects.values() if SESSION in interfaces
    ]
    return sorted(found, key=lambda session: int(session["CreatedUSec"]))


async def _of_each(client: Client, paths: Sequence[str]) -> list[Properties]:
    found: list[Properties | None] = await gather([partial(_of, client, path) for path in paths])
    return [properties for properties in found if properties is not None]


async def _of(client: Client, path: str) -> Properties | None:
    try:
        return await client.properties(SESSION, path)
    except CtlError as exc:
        if exc.name in _GONE:
            return None
        raise


async def look(client: Client, *, ended: bool = False) -> list[Properties]:
    """As `everything`, with verdicts and memory from a look made now, where the daemon can look."""
    found = await everything(client, ended=ended)
    try:
        (rows,) = await client.reaper("ListVerdicts") if found else ((),)
    except NoDaemon:
        raise
    except CtlError:
        return found  # what was seen at the last look is better than nothing
    seen = {row[0]: {"Verdict": row[1], "KeptBy": row[2], "Memory": row[3]} for row in rows}
    return [{**session, **seen.get(session["Id"], {})} for session in found]


async def resolve(client: Client, text: str) -> tuple[str, str]:
    """(id, path) of the session meant by its id, a unique beginning of it, or '.' for this shell's."""
    if text in ("", "."):
        return await _of_this_shell(client)
    try:
        (path,) = await client.manager("GetSession", "s", text)
    except CtlError as exc:
        if exc.name == PASSWORD_REQUIRED:
            return text, session_path(text)  # another user's: what is asked of it may ask for the password
        if exc.name != "NoSuchSession":
            raise
        return await _by_beginning(client, text, exc)
    return text, path


async def _of_this_shell(client: Client) -> tuple[str, str]:
    try:
        (path,) = await client.manager("GetSessionByPID", "u", 0)
    except CtlError as exc:
        if exc.name != "NoSuchSession":
            raise
        raise CtlError("This shell runs in no session.", "Name one: 'musterctl list' shows them.") from exc
    (session_id,) = await client.call(PROPERTIES, "Get", "ss", SESSION, "Id", path=path)
    return str(plain(session_id)), path


async def _by_beginning(client: Client, text: str, refusal: CtlError) -> tuple[str, str]:
    rows = await listed(client) + await listed(client, "ListEndedSessions")
    fitting = {row[0]: row[5] for row in rows if row[0].startswith(text)}
    match list(fitting.items()):
        case []:
            raise refusal
        case [(session_id, path)]:
            return session_id, path
    names = ", ".join(list(fitting)[:6]) + (", ..." if len(fitting) > 6 else "")
    raise CtlError(f"'{text}' is the beginning of {len(fitting)} ids: {names}.", "Give more of it.")


def since(session: Properties) -> int:
    """When it ended, or fell idle, or was last heard of: what its state lasts since."""
    return int(session["EndedUSec"] or session["IdleSinceUSec"] or session["LastActivityUSec"])


def verdict(session: Properties) -> str:
    """In one word, with the gate: "keep: turn"."""
    gate = f": {session['KeptBy']}" if session["KeptBy"] else ""
    return f"{session['Verdict']}{gate}" if session["Verdict"] else ""


def counts(sessions: list[Properties]) -> dict[str, int]:
    """How many there are in each state, the most first."""
    states: dict[str, int] = {}
    for session in sessions:
        states[session["State"]] = states.get(session["State"], 0) + 1
    return dict(sorted(states.items(), key=lambda item: -item[1]))


def as_json(value: Any) -> str:
    """ASCII only: no control character, and nothing that reorders text, survives."""
    import json

    return json.dumps(value, indent=2)
