"""org.musterd.Muster1.Wardens: where the wardens of users come in."""

from collections.abc import Awaitable, Callable, Sequence

from .call import Call, Handler
from .door import Door


class WardensInterface:
    """`attach` takes the uid and pid of who wants to be the warden of its user, and returns an fd."""

    def __init__(self, attach: Callable[[int, int], Awaitable[int]], door: Door) -> None:
        self._attach_process = attach
        self._door = door

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"Attach": self._attach}

    async def _attach(self, call: Call) -> Sequence[object]:
        caller = await self._door.caller(call)
        return [await self._attach_process(caller.uid, caller.pid)]
