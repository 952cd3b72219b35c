"""State that survives: modes, sessions and claims as TOML files in one directory, one file each."""

import asyncio
import errno
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from musterd.core.claim import Claim, ClaimId
from musterd.core.errors import AlreadyRegistered, InvalidArgs
from musterd.core.inhibitor import Inhibitor
from musterd.core.session import Session, SessionId
from musterd.core.state import (
    Modes,
    format_claim,
    format_inhibitor,
    format_modes,
    format_session,
    parse_claim,
    parse_inhibitor,
    parse_modes,
    parse_session,
)
from musterd.ports import Loaded, Pipe

from . import pipes
from .statedir import StateDir, failed

MODE = "mode.toml"
SESSIONS = "sessions"
CLAIMS = "claims"
INHIBITORS = "inhibitors"
PIPES = "pipes"
SUFFIX = ".toml"
LOCK = "lock"
QUARANTINE = "quarantine"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

P = ParamSpec("P")
R = TypeVar("R")


class FileStore:
    """The Store over a state directory, which it keeps locked until close().

    One thread does all the writing: the loop never waits for a disk, and order is kept.
    """

    def __init__(self, path: str) -> None:
        """Raises Failed where the directory cannot be used, or another process has it."""
        self.path = path = os.path.realpath(path)  # the administrator's own links are followed
        self._open: list[StateDir] = []
        self._lock = -1
        try:
            self._top = self._directory(path)
            self._lock = self._top.lock(LOCK)
            self._sessions = self._directory(os.path.join(path, SESSIONS))
            self._claims = self._directory(os.path.join(path, CLAIMS))
            self._inhibitors = self._directory(os.path.join(path, INHIBITORS))
            self._pipes = self._directory(os.path.join(path, PIPES))
            self._quarantine = self._directory(os.path.join(path, QUARANTINE))
        except OSError as exc:
            self._close()
            raise failed(f"use the state directory '{path}'", exc) from exc
        except BaseException:
            self._close()
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def load(self) -> Loaded:
        try:
            return await self._run(self._load)
        except OSError as exc:
            raise self._failed("read the roll", exc) from exc

    async def create(self, session: Session) -> None:
        await self._create(self._sessions, "session", session.id, format_session(session))

    async def save(self, session: Session) -> None:
        await self._save(self._sessions, "session", session.id, format_session(session))

    async def remove(self, *session_ids: SessionId) -> None:
        await self._remove(self._sessions, "session", *session_ids)

    async def create_claim(self, claim: Claim) -> None:
        await self._create(self._claims, "claim", claim.id, format_claim(claim))

    async def save_claim(self, claim: Claim) -> None:
        await self._save(self._claims, "claim", claim.id, format_claim(claim))

    async def remove_claim(self, claim_id: ClaimId) -> None:
        await self._remove(self._claims, "claim", claim_id)

    async def create_pipe(self, inhibitor: Inhibitor) -> Pipe:
        try:
            return await self._run(self._create_pipe, inhibitor)
        except OSError as exc:
            raise self._failed(f"write inhibitor '{inhibitor.number}'", exc) from exc

    async def remove_pipe(self, number: int) -> None:
        try:
            await self._run(self._remove_pipe, number)
        except OSError as exc:
            raise self._failed(f"remove inhibitor '{number}'", exc) from exc

    async def save_modes(self, modes: Modes) -> None:
        try:
            await self._run(self._top.replace, MODE, format_modes(modes))
        except OSError as exc:
            raise self._failed(f"write '{MODE}'", exc) from exc

    async def check(self) -> None:
        try:
            await self._run(self._check)
        except OSError as exc:
            raise self._failed("write", exc) from exc

    async def close(self) -> None:
        """What was asked before is written; then the directory is free for another process."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _create(self, directory: StateDir, what: str, name: str, content: str) -> None:
        try:
            await self._run(directory.create, _file_name(name), content)
        except FileExistsError:
            raise AlreadyRegistered(f"The id '{name}' is taken.") from None
        except OSError as exc:
            raise self._failed(f"write {what} '{name}'", exc) from exc

    async def _save(self, directory: StateDir, what: str, name: str, content: str) -> None:
        try:
            await self._run(directory.replace, _file_name(name), content)
        except OSError as exc:
            raise self._failed(f"write {what} '{name}'", exc) from exc

    async def _remove(self, directory: StateDir, what: str, *names: str) -> None:
        try:
            await self._run(directory.remove, *map(_file_name, names))
        except OSError as exc:
            raise self._failed(f"remove {what} '{', '.join(names[:3])}'", exc) from exc

    async def _run(self, function: Callable[P, R], *args: P.args, **_: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _failed(self, what: str, exc: OSError) -> Exception:
        return failed(f"{what} in '{self.path}'", exc)

    def _directory(self, path: str) -> StateDir:
        directory = StateDir.open(path)
        self._open.append(directory)
        return directory

    def _close(self) -> None:
        for directory in self._open:
            directory.close()
        self._open.clear()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _check(self) -> None:
        """Goes the way of a save, behind those that are under way: one that hangs holds this up, too."""
        if self._sessions.is_gone:
            raise OSError(errno.ENOENT, "the directory was removed or replaced; restart musterd")
        self._sessions.probe()

    def _create_pipe(self, inhibitor: Inhibitor) -> Pipe:
        pipe = pipes.make(self._pipes, str(inhibitor.number))
        try:
            name = _file_name(str(inhibitor.number))
            self._inhibitors.replace(name, format_inhibitor(inhibitor), sync=False)
        except BaseException:
            os.close(pipe.read)
            os.close(pipe.write)
            pipes.remove(self._pipes, str(inhibitor.number))
            raise
        return pipe

    def _remove_pipe(self, number: int) -> None:
        self._inhibitors.remove(_file_name(str(number)), sync=False)
        pipes.remove(self._pipes, str(number))

    def _find_held(self, quarantined: dict[str, str]) -> list[tuple[Inhibitor, int]]:
        """Those whose pipe somebody has open; the others went while nobody looked."""
        held = []
        for inhibitor in self._read_all(self._inhibitors, _parse_inhibitor, quarantined):
            if (read := pipes.find(self._pipes, str(inhibitor.number))) is not None:
                held.append((inhibitor, read))
            else:
                with suppress(OSError):  # they are looked at again at the next start
                    self._inhibitors.remove(_file_name(str(inhibitor.number)), sync=False)
        pipes.clean(self._pipes, but={str(inhibitor.number) for inhibitor, _ in held})
        return held

    def _load(self) -> Loaded:
        quarantined: dict[str, str] = {}
        for directory in (self._top, self._sessions, self._claims, self._inhibitors):
            directory.clean()
        sessions = self._read_all(self._sessions, _parse_session, quarantined)
        claims = self._read_all(self._claims, _parse_claim, quarantined)
        modes = self._read(self._top, MODE, lambda _, text: parse_modes(text), quarantined)
        return Loaded(sessions, modes or Modes(), quarantined, claims, self._find_held(quarantined))

    def _read_all(
        self, directory: StateDir, parse: Callable[[str, str], R], quarantined: dict[str, str]
    ) -> list[R]:
        read = (self._read(directory, name, parse, quarantined) for name in sorted(os.listdir(directory.fd)))
        return [found for found in read if found]

    def _read(
        self, directory: StateDir, name: str, parse: Callable[[str, str], R], quarantined: dict[str, str]
    ) -> R | None:
        try:
            return parse(name, directory.read(name))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as exc:  # tomllib recurses into nested arrays
            quarantined[name] = str(exc) or type(exc).__name__
        try:
            directory.set_aside(name, self._quarantine)
        except OSError as exc:
            quarantined[name] += f" (and it cannot be moved to quarantine: {exc.strerror})"
        return None


def _parse_session(name: str, text: str) -> Session:
    session = parse_session(text)
    _check_name(name, "session", session.id)
    return session


def _parse_claim(name: str, text: str) -> Claim:
    claim = parse_claim(text)
    _check_name(name, "claim", claim.id)
    return claim


def _parse_inhibitor(name: str, text: str) -> Inhibitor:
    inhibitor = parse_inhibitor(text)
    _check_name(name, "inhibitor", str(inhibitor.number))
    return inhibitor


def _check_name(name: str, what: str, held: str) -> None:
    if name != held + SUFFIX or not _ID.fullmatch(held):
        raise ValueError(f"it holds {what} '{held[:64]}'")


def _file_name(name: str) -> str:
    if not _ID.fullmatch(name):
        raise InvalidArgs(f"'{name[:64]}' cannot be an id.")
    return name + SUFFIX
