"""Uncommitted work, as git(1) tells it; whatever a repository's configuration says, git starts no program.

A repository is what somebody else may have written, an agent in a sandbox for one: filters, hooks, monitors
and transports named in it would run outside of that sandbox.
"""

import logging
import os
import shutil
from collections.abc import Collection, Mapping, Sequence

from musterd.core.errors import reason
from musterd.host.programs import ask, user_environ

logger = logging.getLogger(__name__)

OUTPUT_LIMIT = 256 * 1024  # bytes; beyond it is much, and how much does not matter
DRIVERS_LIMIT = 100  # filters that one configuration may name
PATHS_LIMIT = 100  # files that are asked about by name; each may have PATH_MAX bytes

_NO_PROGRAM = 127  # exit status of what could not start another, prlimit(1) for one

# git-config(1). Threads are off because they count as processes, of which it gets none.
_SETTINGS = (
    "core.fsmonitor=false", "core.hooksPath=/dev/null", "core.pager=cat", "core.preloadIndex=false",
    "index.threads=1", "protocol.allow=never", "safe.bareRepository=explicit",
    "status.submoduleSummary=false", "diff.external=", "gc.auto=0", "maintenance.auto=false",
)  # fmt: skip

# git(1): nothing is written, nothing fetched, nobody asked.
_ENVIRON = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}

_STATUS = (
    "status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=dirty", "--no-renames",
)  # fmt: skip


class Untold(Exception):
    """It could not be found out; the text says why."""


async def uncommitted(directory: str, uid: int) -> int | None:
    """How many files of its repository have changes that no commit has; None if it is in none. Untold.

    As that user. A directory full of new files counts as one; at least so many, where there are very many.
    """
    environ = {**user_environ(uid), **_ENVIRON}
    status, output, is_cut = await _git(directory, uid, environ, "config", "--list", "--name-only", "-z")
    if status and not is_cut:
        await _expect_none(directory, uid, environ)
        return None
    drivers = drivers_of(output.decode(errors="surrogateescape"))
    if is_cut or len(drivers) > DRIVERS_LIMIT:
        raise Untold("its repository has more settings than are looked at")
    environ |= _without(drivers)
    status, output, is_cut = await _git(directory, uid, environ, *_STATUS)
    if status and not is_cut:
        await _expect_none(directory, uid, environ)
        return None
    records = [record for record in output.split(b"\0") if record]
    modified = [record[3:] for record in records if record.startswith(b" M")] if drivers else []
    sure = len(records) - len(modified)
    if modified:
        sure += await _unfiltered(directory, uid, environ, modified[:PATHS_LIMIT], drivers)
    if records and not sure:
        raise Untold("files look modified, but filters of its repository, which were not run, may differ")
    return sure


async def _git(
    directory: str, uid: int, environ: Mapping[str, str], *command: str, with_errors: bool = False
) -> tuple[int, bytes, bool]:
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    words = "git", "--no-pager", "--no-optional-locks", "-C", directory, *settings, *command
    try:
        answer = await ask(
            *_alone(uid), *words, environ=environ, limit=OUTPUT_LIMIT, uid=uid, with_errors=with_errors
        )
    except (OSError, ValueError) as exc:
        raise Untold(f"git cannot be run: {reason(exc)}") from exc
    if answer.status == _NO_PROGRAM:
        raise Untold("git cannot be run: there is none")
    return answer.status, answer.output, answer.is_cut


def _alone(uid: int) -> Sequence[str]:
    """A limit of no processes (RLIMIT_NPROC, which binds all users but root): what we forgot cannot fork."""
    return ("prlimit", "--nproc=0", "--") if uid and shutil.which("prlimit") else ()


async def _expect_none(directory: str, uid: int, environ: Mapping[str, str]) -> None:
    """Untold, unless it failed because there is no repository."""
    status, output, _ = await _git(directory, uid, environ, "rev-parse", "--git-dir", with_errors=True)
    if status and b"not a git repository" in output:
        return
    raise Untold(f"git refuses: {output.decode(errors='replace').strip()[:200]}")


def drivers_of(names: str) -> list[str]:
    """The filters that names of settings, each with a NUL behind it, speak of (gitattributes(5))."""
    found = set()
    for name in names.split("\0"):
        section, _, rest = name.partition(".")
        driver, _, _ = rest.rpartition(".")
        if section.lower() == "filter" and driver:
            found.add(driver)
    return sorted(found)


def _without(drivers: Sequence[str]) -> Mapping[str, str]:
    """Their programs unset; by environment, as names may hold anything."""
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    settings = [(f"filter.{driver}.{key}", value) for driver in drivers for key, value in off.items()]
    environ = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environ


async def _unfiltered(
    directory: str, uid: int, environ: Mapping[str, str], paths: Sequence[bytes], drivers: Collection[str]
) -> int:
    """How many of these files of its repository no filter changes: what looks modified there is that.

    Filters were not run: what one would have cleaned looks modified, too. And one is in the settings of most
    people, as of all who ever used git-lfs, for files of which a repository need not have any.
    """
    _, top, _ = await _git(directory, uid, environ, "rev-parse", "--show-toplevel")  # paths are from there
    words = "check-attr", "-z", "filter", "--", *map(os.fsdecode, paths)
    status, output, is_cut = await _git(os.fsdecode(top.removesuffix(b"\n")), uid, environ, *words)
    return 0 if status or is_cut else count_others(output, drivers)


def count_others(attributes: bytes, drivers: Collection[str]) -> int:
    """Files of `git check-attr -z filter` that have none of these filters."""
    filters = attributes.split(b"\0")[2::3]
    return sum(name.decode(errors="surrogateescape") not in drivers for name in filters)
