"""Our hooks in the settings of one agent of this user: how they are, put in, taken out."""

import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from musterd.agents.base import Adapter, Json
from musterd.agents.hooks import CommandHooks, Extension

from . import merge, userfile
from .failure import CtlError
from .jsontext import NotJson, parse

MAX_TEXT = 64 * 1024  # bytes of a package's description


class Hooks(StrEnum):
    """How they are in the settings."""

    INSTALLED = "installed"
    OUTDATED = "outdated"  # there, but not as they would be installed now
    MISSING = "missing"
    BROKEN = "broken"  # the file cannot be used, by us or by the agent


@dataclass(frozen=True, slots=True)
class Report:
    hooks: Hooks
    trouble: str = ""  # why it is broken
    doubt: str = ""  # why the agent would not run them


def program() -> tuple[str, ...]:
    """What an agent is to run, without its name and the event: of the installation that this is, and always
    the same, for Codex asks its user about every change."""
    me = os.path.abspath(sys.argv[0])
    directories = dict.fromkeys(map(os.path.dirname, (me, os.path.realpath(me), sys.executable)))
    for name, rest in (("musterd-hook", ()), ("musterctl", ("hook",))):
        beside = [path for path in (f"{at}/{name}" for at in directories) if os.access(path, os.X_OK)]
        if path := next(iter(beside), None) or shutil.which(name):
            return (_utf8(path), *rest)
    raise CtlError("Neither musterd-hook nor musterctl is installed.", "Put them on the PATH.")


def _utf8(path: str) -> str:
    """Settings can name no other."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise CtlError(f"The name of {path!a} is not UTF-8.", "Install it somewhere else.") from None
    return path


def home() -> str:
    path = os.environ.get("HOME", os.path.expanduser("~"))
    if not path.startswith("/"):
        raise CtlError("It is not known where your home directory is.", "Set HOME.")
    return path


class Wiring:
    """Of one agent. Every method raises CtlError, whose sentence names the file."""

    def __init__(self, adapter: Adapter) -> None:
        assert adapter.hooks is not None
        self.adapter = adapter
        self.limit = adapter.hooks.limit  # seconds that the agent waits for a hook
        self.directory = adapter.hooks.place.path(home(), os.environ)
        self.path = f"{self.directory}/{adapter.hooks.file}"

    @property
    def is_agent_here(self) -> bool:
        """Whether this user has the agent, or had it."""
        return os.path.isdir(self.directory) or bool(self.command)

    @property
    def command(self) -> str:
        return shutil.which(self.adapter.resume[0]) or ""

    def version(self) -> str:
        """Of the agent that the PATH leads to; "" if its package does not say."""
        for above in Path(os.path.realpath(self.command)).parents[:4] if self.command else ():
            try:
                with open(above / "package.json", "rb") as file:
                    return self.adapter.version(file.read(MAX_TEXT).decode())
            except (OSError, ValueError):
                continue
        return ""

    def report(self) -> Report:
        try:
            file = userfile.read(self.path)
            before = file.text if file.data is not None else None
            after = self._installed(before)
            if before == after:
                return Report(Hooks.INSTALLED, doubt=self._doubt(after))
            has_any = before is not None and self._uninstalled(before) != before
        except CtlError as exc:
            return Report(Hooks.BROKEN, str(exc))
        return Report(Hooks.OUTDATED if has_any else Hooks.MISSING)

    def install(self) -> bool:
        """Whether anything had to be changed."""
        file = userfile.read(self.path)
        before = file.text if file.data is not None else None
        return self._write(file, before, self._installed(before))

    def uninstall(self) -> bool:
        """Whether anything had to be changed."""
        file = userfile.read(self.path)
        if file.data is None:
            return False
        return self._write(file, file.text, self._uninstalled(file.text))

    def _write(self, file: userfile.UserFile, before: str | None, after: str | None) -> bool:
        if before == after:
            return False
        userfile.write(file, None if after is None else after.encode())
        return True

    def _installed(self, text: str | None) -> str:
        hooks, name = self.adapter.hooks, self.adapter.agent.value
        if isinstance(hooks, Extension):
            if text is not None and not _is_our_extension(text):
                raise CtlError(f"{self.path} is not ours.", "Move it away, then try again.")
            return _extension(hooks)
        assert hooks is not None
        otherwise = f" || echo {shlex.quote(hooks.otherwise)}" if hooks.otherwise else ""
        wanted = {
            event: merge.handler(shlex.join((*program(), name, event)) + otherwise, hooks.timeout)
            for event in hooks.events
        }
        self._check(hooks, text)
        try:
            return merge.installed(text, wanted)
        except NotJson as exc:
            raise self._not_json(exc) from exc

    def _uninstalled(self, text: str) -> str | None:
        if isinstance(self.adapter.hooks, Extension):
            return None if _is_our_extension(text) else text
        try:
            return merge.uninstalled(text)
        except NotJson as exc:
            raise self._not_json(exc) from exc

    def _check(self, hooks: CommandHooks, text: str | None) -> None:
        """What we could edit, but the agent does not read."""
        if hooks.is_strict and text is not None:
            try:
                json.loads(text)
            except (ValueError, RecursionError) as exc:
                raise self._not_json(exc) from exc

    def _not_json(self, exc: Exception) -> CtlError:
        what = re.sub(r": line (\d+) column \d+ \(char \d+\)$", r", line \1", str(exc))
        return CtlError(f"{self.path} is not right: {what}.", "Correct it, or move it away; then try again.")

    def _doubt(self, text: str) -> str:
        if isinstance(self.adapter.hooks, Extension):
            return ""
        settings: dict[str, Json] = {}
        for name in self.adapter.doubted_by:
            file = userfile.read(f"{self.directory}/{name}")
            if file.data is not None:
                settings[name] = _parsed(file.path, file.text)
        return self.adapter.hooks_doubt(merge.found(text), self.path, settings)


def _parsed(path: str, text: str) -> Mapping[str, object]:
    try:
        found = tomllib.loads(text) if path.endswith(".toml") else parse(text).plain
    except ValueError as exc:
        raise CtlError(f"{path} is not right: {exc}.") from exc
    return found if isinstance(found, dict) else {}


def _extension(hooks: Extension) -> str:
    """Its source, with the program that it is to run."""
    text = (files("musterd.agents") / "extensions" / hooks.source).read_text()
    return _COMMAND.sub(lambda found: found.group(1) + json.dumps(program()), text, count=1)


_COMMAND = re.compile(r"^(const COMMAND = )\[.*?\]", re.MULTILINE)


def _is_our_extension(text: str) -> bool:
    return text.startswith(("// musterd's extension for ", "// musterd's plugin for "))
