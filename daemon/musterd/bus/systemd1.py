"""systemd, asked to start the wardens of users, and whose process is whose."""

from musterd.core.errors import Failed

from .connection import BusConnection
from .errors import BusError, RemoteError
from .names import label_escape

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{NAME}.Manager"

TIMEOUT = 10.0  # seconds; it answers at once unless the machine is in trouble

_NO_SYSTEMD = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
)


class WardenUnits:
    """`musterd-warden@UID.service`, which a polkit rule lets us start. Needs `bus` before the first call."""

    def __init__(self) -> None:
        self.bus: BusConnection | None = None

    async def start(self, uid: int) -> None:
        """Does nothing where it runs already. Raises Failed."""
        try:
            await self._call("StartUnit", "ss", _unit(uid), "replace")
        except BusError as exc:
            raise Failed(f"{_unit(uid)} cannot be started: {exc}.") from exc

    async def is_theirs(self, uid: int, pid: int) -> bool:
        """Whether the process is in the unit; where no systemd runs, nobody says that it is not."""
        try:
            (path,) = await self._call("GetUnitByPID", "u", pid)
        except RemoteError as exc:
            return exc.name in _NO_SYSTEMD
        except BusError as exc:
            raise Failed(f"systemd does not say what process {pid} is: {exc}.") from exc
        return bool(path == f"{PATH}/unit/{label_escape(_unit(uid))}")

    async def _call(self, member: str, signature: str, *args: object) -> tuple[object, ...]:
        assert self.bus is not None  # set before the name is claimed
        reply = await self.bus.call(NAME, PATH, MANAGER, member, signature, args, within=TIMEOUT)
        return reply.body


def _unit(uid: int) -> str:
    return f"musterd-warden@{uid}.service"
