"""State that survives: modes and sessions as TOML files in one directory, one file a session."""

import asyncio
import errno
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from musterd.core.errors import AlreadyRegistered, InvalidArgs
from musterd.core.session import Session, SessionId
from musterd.core.state import Modes, format_modes, format_session, parse_modes, parse_session
from musterd.ports import Loaded

from .statedir import StateDir, failed

MODE = "mode.toml"
SESSIONS = "sessions"
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
        name = _file_name(session.id)
        try:
            await self._run(self._sessions.create, name, format_session(session))
        except FileExistsError:
            raise AlreadyRegistered(f"The id '{session.id}' is taken.") from None
        except OSError as exc:
            raise self._failed(f"write session '{session.id}'", exc) from exc

    async def save(self, session: Session) -> None:
        try:
            await self._run(self._sessions.replace, _file_name(session.id), format_session(session))
        except OSError as exc:
            raise self._failed(f"write session '{session.id}'", exc) from exc

    async def remove(self, session_id: SessionId) -> None:
        try:
            await self._run(self._sessions.remove, _file_name(session_id))
        except OSError as exc:
            raise self._failed(f"remove session '{session_id}'", exc) from exc

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

    def _load(self) -> Loaded:
        quarantined: dict[str, str] = {}
        for directory in (self._top, self._sessions):
            directory.clean()
        sessions = [
            session
            for name in sorted(os.listdir(self._sessions.fd))
            if (session := self._read(self._sessions, name, _parse_named, quarantined))
        ]
        modes = self._read(self._top, MODE, lambda _, text: parse_modes(text), quarantined)
        return Loaded(sessions, modes or Modes(), quarantined)

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


def _parse_named(name: str, text: str) -> Session:
    session = parse_session(text)
    if name != session.id + SUFFIX or not _ID.fullmatch(session.id):
        raise ValueError(f"it holds session '{session.id[:64]}'")
    return session


def _file_name(session_id: str) -> str:
    if not _ID.fullmatch(session_id):
        raise InvalidArgs(f"'{session_id[:64]}' cannot be the id of a session.")
    return session_id + SUFFIX
