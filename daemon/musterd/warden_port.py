"""What the manager needs of wardens, as Protocols, and what they tell it. `musterd.warden` fulfils them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from musterd.agents.base import ProcessFacts
from musterd.core.event import AgentEvent
from musterd.core.evidence import Observation, Usage, Work
from musterd.core.session import Agent, PidRef, Session, SessionId, Source


@dataclass(frozen=True, slots=True)
class Leader:
    """A process that is, or could be, the leader of a session, and what it tells of itself.

    `launcher` is its wrapper process, where the agent has one; part of the tree, and not the leader.
    """

    process: PidRef
    facts: ProcessFacts
    agent: Agent
    launcher: PidRef | None = None
    version: str = ""
    terminal: str = ""
    scope: str = ""  # systemd unit that was made for it
    agent_session_id: str = ""
    transcript: str = ""
    environ: tuple[str, ...] = ()  # as in Session: what starting it again takes
    mark: str = ""  # id of the session that it was started to bring back: its MUSTERD_SESSION


@dataclass(frozen=True, slots=True)
class Ending:
    """How an end of a session went. `left` are processes of its tree that are still there."""

    is_ended: bool  # the leader is gone, and nothing of its tree is left
    how: str  # "by itself", "/quit", "SIGTERM", ..., or "kept: REASON" where it was not ended
    freed: int = 0  # bytes that its tree had for itself before, and has no more
    left: tuple[str, ...] = ()  # "name (pid): why"

    @property
    def was_kept(self) -> bool:
        """Something changed at the last moment, and nothing was sent."""
        return self.how.startswith("kept")

    @property
    def obstacle(self) -> str:
        """Why it is not ended, as far as that can be told."""
        return "; ".join(self.left) or self.how


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that demonstrably belongs to a session whose leader is gone."""

    session: SessionId
    process: PidRef
    name: str
    memory: int  # bytes


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance of an agent that the warden came across, in a transcript or a status file."""

    session: SessionId
    event: AgentEvent
    source: Source


@dataclass(frozen=True, slots=True)
class Gone:
    """A leader ended. Sent once, within the same loop turn as the kernel's notice."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Appeared:
    """An agent was found that leads no watched session."""

    leader: Leader


WardenEvent = Said | Gone | Appeared


class Warden(Protocol):
    """The eyes and hands of one user: all that opens what a user controls runs as that user.

    Nothing it says is believed about another uid than its own. What is asked of it raises Failed if that
    cannot be done, or not in time (`warden.line.MEMBERS` has the seconds for one that is a process).
    """

    uid: int

    async def leader(self, pid: int, agent: Agent | None) -> Leader:
        """The session leader that `pid` belongs to: the nearest ancestor (or itself) that an adapter
        recognises, of that agent if one is given.

        With agent `other`, or if nothing is recognised and an agent is given, the process itself.
        Raises NoSuchSession if there is no such process (any more), AccessDenied if it is another user's.
        """

    async def lineage(self, pid: int) -> Sequence[PidRef]:
        """The process and its ancestors, nearest first, up to process 1. NoSuchSession if it is gone."""

    async def watch(self, session: Session) -> None:
        """From now on tell of its end (pidfd), its transcript (inotify) and its status file.

        Reads the tail of the transcript first. Watching again with a new value (a transcript became known)
        is cheap. Raises NoSuchSession if the leader is gone, or is another process by now.
        """

    def unwatch(self, session_id: SessionId) -> None:
        """Forget it; unknown ids are ignored."""

    def events(self) -> AsyncIterator[WardenEvent]:
        """All that watching and sweeping bring, in order; ends with the warden."""

    async def observe(
        self, sessions: Sequence[Session], *, screens: bool
    ) -> Mapping[SessionId, Observation]:
        """One look at each, `screens` also at what their terminals show; one that is not watched is unknown.

        One pass over /proc, and two client calls for each tmux server, for all of them.
        """

    async def usage(self, sessions: Sequence[Session]) -> Mapping[SessionId, Usage]:
        """What each tree costs now; those that are not watched are missing."""

    async def work(self, session: Session, check_command: Sequence[str], seconds: float) -> Work:
        """What it has not finished: children, uncommitted work, and what the operator's check says.

        All of it in so many seconds, and nothing that was started for it is left then. The check is run in
        the session's directory as its user, with who is checked in MUSTERD_CHECK_SESSION, _AGENT and
        _AGENT_SESSION. Exit status 0: content. 1: not, and its output says why. All else is unknown.
        """

    async def sweep(self) -> None:
        """Look for agents that nobody registered; each comes as `Appeared`, once."""

    def forget(self, process: PidRef) -> None:
        """It was not taken: tell of it again at the next sweep."""

    async def end(self, session: Session, last_look: Observation | None) -> Ending:
        """End it the way its adapter says, then with SIGTERM, then with SIGKILL, the whole tree; verified.

        With a `last_look`, nothing is sent unless all is as it was then: transcript, children, screen. The
        pane it ran in stays, and says what happened and how to resume. May take half a minute. Raises
        NoSuchSession if the leader is gone already.
        """

    async def reclaim(self, session: Session) -> int:
        """Have the kernel write out and drop what memory it can, and end nothing -> bytes that came back.

        0 where there is nothing to be had: no scope that holds this session and nobody else, or no control
        of its memory (cgroup v2, `memory.reclaim`).
        """

    async def leftovers(self, sessions: Sequence[Session]) -> Sequence[Leftover]:
        """What is left of ended sessions: by their own scope, or by environment mark and start time."""

    async def end_leftovers(self, leftovers: Sequence[Leftover]) -> Ending:
        """With SIGTERM, then with SIGKILL, and what is below them; nothing if another session runs there."""

    async def resume(self, session: Session) -> None:
        """Start its resume command in its directory: in its pane if that waits, else in a new window.

        What is started carries MUSTERD_SESSION with its id, and is told of as `Appeared`. Raises
        NotResumable if its directory or program is gone, Failed if there is no terminal to be had.
        """

    async def close(self) -> None:
        """It watches nothing any more, and `events` ends."""


class Wardens(Protocol):
    """One warden a user. In single-user mode there is one in all; the system service has them started."""

    def find(self, uid: int) -> Warden | None:
        """The one that is there now."""

    async def get(self, uid: int) -> Warden:
        """The one that is there, or is started now. Raises Failed, soon, while none can be had."""

    def arrivals(self) -> AsyncIterator[Warden]:
        """Each warden from its coming on. One that comes in another's place watches nothing yet."""
