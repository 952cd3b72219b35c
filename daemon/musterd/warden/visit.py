"""The files of a session: which they are, what brings them about, and what they say. Any of it may hang."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass

from musterd.agents.base import Query
from musterd.core.evidence import Transcript
from musterd.host.query import QueryReader
from musterd.host.transcript import Lines, Tail, Unreadable, read_text
from musterd.warden.beside import Page

STATUS_LIMIT = 64 * 1024  # bytes of a status file
FOLDERS_LIMIT = 16  # directories in which a transcript that is not there yet is waited for

Reader = Tail | QueryReader


@dataclass(frozen=True, slots=True)
class Survey:
    """Which files there are."""

    wish: int  # the number of times that somebody wanted it anew
    place: str | Query | None  # where its adapter says that the transcript is
    found: str | Query | None
    status: str
    stages: Sequence[str]

    @property
    def key(self) -> object:
        return self.place, self.found, self.status


@dataclass(frozen=True, slots=True)
class Visit:
    """What its files had to say."""

    survey: Survey | None  # None: the files are those of before
    reader: Reader | None  # behind what was read
    read: tuple[Lines | tuple[str, ...], Transcript] | Unreadable | None
    status: str | Unreadable | None
    queued: int | Unreadable | None
    beside: Sequence[Page] = ()


def open_reader(found: str | Query | None, uid: int) -> Reader | None:
    if isinstance(found, Query):
        return QueryReader(found, uid)
    return Tail(found, uid) if found else None


def read_from(reader: Reader | None) -> tuple[Lines | tuple[str, ...], Transcript] | Unreadable | None:
    try:
        return reader.read() if reader else None
    except Unreadable as exc:
        return exc


def read_status(path: str, uid: int) -> str | Unreadable | None:
    try:
        return read_text(path, uid, STATUS_LIMIT) if path else None
    except Unreadable as exc:
        return exc


def count_queued(queue: Query | None, uid: int) -> int | Unreadable | None:
    """Inputs that wait; where there is no queue, nobody has ever left any."""
    if queue is None or not os.path.lexists(queue.database):
        return None
    try:
        return len(QueryReader(queue, uid).read()[0])
    except Unreadable as exc:
        return exc


def paths_of(survey: Survey) -> list[str]:
    """Whose changes matter."""
    found = survey.found
    files = found.files if isinstance(found, Query) else (found or "",)
    return [path for path in (survey.status, *files, *survey.stages) if path]


def resolve(place: str) -> str | None:
    """The one file that fits (its name is UTF-8); None if there is none (yet), or several."""
    if os.path.lexists(place) or not glob.has_magic(place):
        return place
    fitting = [path for path in glob.glob(place) if path.encode(errors="replace").decode() == path]
    return fitting[0] if len(fitting) == 1 else None


def stages_of(place: str) -> list[str]:
    """Patterns of names whose creation can bring the file: one for each part of the path with a wildcard."""
    folders: list[str] = ["/"]
    stages: list[str] = []
    for part in place.strip("/").split("/"):
        paths = [os.path.join(folder, part) for folder in folders]
        if not glob.has_magic(part):
            folders = paths
            continue
        stages += paths
        folders = [
            os.path.join(folder, name)
            for folder in map(os.path.dirname, paths)
            for name in glob.glob(part, root_dir=folder)
        ]
        folders = sorted(folders, key=_age)[:FOLDERS_LIMIT]
    return stages


def _age(folder: str) -> float:
    try:
        return -os.stat(folder).st_mtime
    except OSError:
        return 0.0
