"""The order that brings a session back, in words that work where its user types them."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from musterd.agents.base import ProcessFacts
from musterd.core.session import SessionId
from musterd.host.process import read_environ

_OPTIONS = {"system": ("--system",), "session": ("--user",)}


@dataclass(frozen=True, slots=True)
class WayBack:
    """`bus` is where we are called: system, session, or an address."""

    bus: str = "system"

    def order(self, session_id: SessionId) -> Sequence[str]:
        """For a program to run, whatever its environment says."""
        return _own_musterctl(), *self._where(), "resume", session_id

    def offer(self, session_id: SessionId, shell: ProcessFacts) -> str:
        """For a user to confirm in that shell: no longer than it takes there."""
        there = read_environ(shell.pid, ("PATH", "MUSTERD_BUS"))
        program = "musterctl" if shutil.which("musterctl", path=there.get("PATH", "")) else _own_musterctl()
        usual = there.get("MUSTERD_BUS") or "system"
        where = () if {"user": "session"}.get(usual, usual) == self.bus else self._where()
        return shlex.join([program, *where, "resume", session_id])

    def _where(self) -> tuple[str, ...]:
        return _OPTIONS.get(self.bus, ("--bus", self.bus))


def _own_musterctl() -> str:
    """The one that belongs to us, if it is where ours are."""
    path = os.path.join(os.path.dirname(sys.executable), "musterctl")
    return path if os.access(path, os.X_OK) else "musterctl"
