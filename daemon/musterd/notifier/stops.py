"""What is news about the stop gate: it begins to hold a session, or lets an unfinished one go."""

from .topics import Asked, Held, LetGo

MAX_SESSIONS = 1000  # that are remembered

_BLOCK, _EXHAUSTED = "block", "exhausted"


class Stops:
    """A session asks at each end of a turn. It is told of when the answer becomes another one."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}  # the latest verdict that was told of, by session id

    def news(self, asked: Asked) -> Held | LetGo | None:
        before = self._last.pop(asked.id, "")
        if asked.verdict in (_BLOCK, _EXHAUSTED):
            self._remember(asked.id, asked.verdict)
        elif before == _EXHAUSTED:
            self._remember(asked.id, before)  # its budget stays used up until it is held again
        match asked.verdict:
            case "block" if before != _BLOCK:
                return Held(asked.id)
            case "exhausted" if before != _EXHAUSTED:
                return LetGo(asked.id)
        return None

    def forget(self, session_id: str) -> None:
        self._last.pop(session_id, None)

    def _remember(self, session_id: str, verdict: str) -> None:
        self._last[session_id] = verdict
        if len(self._last) > MAX_SESSIONS:
            del self._last[next(iter(self._last))]
