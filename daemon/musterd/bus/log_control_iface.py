"""org.freedesktop.LogControl1: what is logged, and where to."""

from typing import Protocol

from musterd.core.errors import NotAuthorized

from .call import Call
from .contract import Values
from .door import Door


class LogControl(Protocol):
    """The log of this process. Both setters raise InvalidArgs for a word they do not know."""

    identifier: str

    @property
    def level(self) -> str:
        """As syslog(3) names it: "debug" to "emerg"."""

    def set_level(self, level: str) -> None: ...

    @property
    def target(self) -> str: ...

    def set_target(self, target: str) -> None: ...


class LogControlInterface:
    """`operators` are the users who may set anything, besides root."""

    def __init__(self, log: LogControl, door: Door, *operators: int) -> None:
        self._log = log
        self._door = door
        self._operators = (0, *operators)

    async def properties(self, _call: Call, _path: str) -> Values:
        return {
            "LogLevel": self._log.level,
            "LogTarget": self._log.target,
            "SyslogIdentifier": self._log.identifier,
        }

    async def set(self, call: Call, name: str, value: object) -> None:
        if (await self._door.caller(call)).uid not in self._operators:
            raise NotAuthorized(f"Only root may set '{name}'.")
        change = {"LogLevel": self._log.set_level, "LogTarget": self._log.set_target}[name]
        change(str(value))
