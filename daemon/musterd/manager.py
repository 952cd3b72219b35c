"""The manager: events come in, the core is asked, effects go out through the roll and the ports.

It knows no D-Bus, opens no file and has no clock of its own. One task runs it; after an `await` it looks
sessions up again, since anything may have happened meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from musterd.attendance import Attendance
from musterd.authority import demand_owner
from musterd.claims import Claims
from musterd.core.config import Config
from musterd.core.errors import MusterError, NoSuchSession
from musterd.core.inhibitor import Inhibitor
from musterd.core.pressure import Pressure, Reading, Tier
from musterd.core.registry import Registry
from musterd.core.session import Agent, Session, SessionId, State
from musterd.core.spec import Spec
from musterd.core.state import Modes
from musterd.discovered import Discovered
from musterd.enrolment import Enrolment
from musterd.health import Health
from musterd.inhibitors import Inhibitors
from musterd.keeper import Keeper
from musterd.ports import Caller, Ports, Record
from musterd.roll import Roll
from musterd.takingup import TakingUp
from musterd.warden_port import Appeared, Gone, Leader, Said, Warden, WardenEvent

logger = logging.getLogger(__name__)


class Manager:
    def __init__(self, config: Config, ports: Ports) -> None:
        self.config = config
        self.ports = ports
        self.registry = Registry()
        self.modes = Modes()
        self.pressure = Pressure()
        self.claims = Claims(self.registry, ports.store, self._claims_changed)
        self.health = Health(ports, lambda: self.modes)
        self._goes_down = False  # the machine, in an orderly way
        self._keeper = Keeper(
            self.registry,
            self.claims,
            ports.store,
            ports.clock,
            lambda: self.config.events.keep,
            partial(self.health.set_trouble, "store"),
        )
        told = partial(ports.announcer.manager_changed, "NInhibitors")
        self.inhibitors = Inhibitors(told, self._keeper.forget_inhibitor)
        self.roll = Roll(self.registry, ports, self._keeper, self.inhibitors)
        self.enrolment = Enrolment(self.roll, ports, lambda: self.config.limits)
        self._taking_up = TakingUp(self.roll, ports, self._keeper)
        self._attendance = Attendance(
            self.registry,
            ports.wardens,
            self._taking_up.take_up,
            self._warden_event,
            self.health.set_trouble,
        )
        self._discovered = Discovered(ports.wardens, self._enrol_discovered, self.health.set_trouble)
        self._keeping = asyncio.Lock()
        self.pressure_raised = asyncio.Event()  # set while the tier is above normal

    # Life of the manager

    async def load(self) -> None:
        """Take up the roll where it was left: what is gone by now ends, the rest is watched again."""
        loaded = await self.ports.store.load()
        self.modes = loaded.modes
        self.ports.clock.recall(self.modes.clock)
        self.claims.load(loaded.claims)
        for file, reason in loaded.quarantined.items():
            self._record("quarantined", f"state file '{file}' was moved to quarantine: {reason}")
            self.health.set_trouble(
                f"quarantine:{file}", f"state file {file} was unreadable and moved to quarantine"
            )
        self._taking_up.enter(loaded.sessions)
        self._find_inhibitors(loaded.held)
        await self._attendance.begin()
        await self._mark_clock()
        self.take_reading(self.ports.gauge.read())

    def _find_inhibitors(self, held: Sequence[tuple[Inhibitor, int]]) -> None:
        for inhibitor, read in held:
            self.inhibitors.find(inhibitor, read)
            session = self.registry.find(SessionId(inhibitor.session))
            if inhibitor.session and not (session and session.is_current):
                self.inhibitors.give_back(inhibitor.number)

    async def run(self) -> None:
        """Serve until cancelled; then write what is not written yet."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._attendance.run(), name="wardens")
                tasks.create_task(self._discovered.run(), name="discovery")
                tasks.create_task(self._follow_pressure(), name="pressure")
                tasks.create_task(self._keeper.run(), name="keeper")
        finally:
            await self.flush()
            await self._mark_clock()

    async def flush(self) -> None:
        """Write what waits to be written."""
        await self._keeper.flush()

    async def _warden_event(self, warden: Warden, event: WardenEvent) -> None:
        match event:
            case Gone(session_id):
                session = self.registry.find(session_id)
                if session and session.state is State.STOPPING:
                    self.roll.gone.add(session.id)  # whoever ends it looks at the rest of its tree first
                elif session and session.is_current:
                    self.roll.end(session, session.ending or ("reboot" if self._goes_down else "exited"))
            case Said(session_id, spoken, source):
                await self.roll.hear(session_id, spoken, source)
            case Appeared(leader) if leader.facts.uid == warden.uid and self._is_wanted(leader):
                self._discovered.put(leader)

    def shutdown_changed(self, goes_down: bool) -> None:  # noqa: FBT001 - a callback
        """A shutdown has begun, or was called off. Agents end before we do: their users did not end them."""
        if goes_down != self._goes_down:
            text = "goes down: what ends now was ended by that" if goes_down else "stays up after all"
            logger.info("The machine %s", text)
        self._goes_down = goes_down

    def _is_wanted(self, leader: Leader) -> bool:
        """Who is brought back is waited for, whether or not others are looked for."""
        return self.config.discovery.enabled or self.enrolment.is_awaited(leader)

    async def _enrol_discovered(self, leader: Leader) -> None:
        await self.enrolment.enrol(leader, Spec(), how="discovered")

    async def _follow_pressure(self) -> None:
        async for reading in self.ports.gauge.readings():
            self.take_reading(reading)

    def take_reading(self, reading: Reading) -> None:
        before = self.pressure.tier
        self.pressure = self.pressure.next(reading, self.config.pressure)
        self.health.set_trouble("pressure", self.ports.gauge.health)
        if self.pressure.tier is not before:
            self._tier_changed()

    def _tier_changed(self) -> None:
        if self.pressure.tier is Tier.NORMAL:
            self.pressure_raised.clear()
        else:
            self.pressure_raised.set()
        self._record("pressure", f"pressure is {self.pressure.tier}: {self.pressure.reading}")
        self.ports.announcer.manager_changed("Tier")

    def _claims_changed(self, session_id: SessionId) -> None:
        if session := self.registry.find(session_id):
            self.ports.announcer.claims_changed(session, self.claims.active(session_id))

    # Who may

    def visible(self, caller: Caller, *, past: bool = False) -> list[Session]:
        uid = None if caller.uid == 0 else caller.uid
        return self.registry.past(uid) if past else self.registry.current(uid)

    async def session(self, caller: Caller, session_id: str) -> Session:
        """A session that the caller may see and act on."""
        uid = self.registry.get(session_id).uid
        await demand_owner(self.ports.authority, caller, uid, f"Session '{session_id}'")
        return self.registry.get(session_id)

    async def warden_of(self, uid: int) -> Warden:
        return await self.ports.wardens.get(uid)

    # Sessions come

    async def register(self, caller: Caller, spec: Spec) -> Session:
        """Idempotent by leader: registering the same one again updates it. On disk when it returns."""
        warden = await self.warden_of(caller.uid)
        leader = await self._leader(warden, spec.pid or caller.pid, spec.agent)
        return await self.enrolment.enrol(leader, spec, how="registered")

    async def _leader(self, warden: Warden, pid: int, agent: Agent | None) -> Leader:
        """Unnamed, it is what it is recognised as; and nothing known is `other`."""
        if agent is None:
            with suppress(NoSuchSession):
                return await warden.leader(pid, None)
        return await warden.leader(pid, agent or Agent.OTHER)

    # Sessions go

    async def release(self, caller: Caller, session_id: str) -> None:
        """Off the roll for good; its process is left alone."""
        session = await self.session(caller, session_id)
        if session.is_current:
            self.roll.end(session, "released")
        self.registry.forget(session.id)  # first: whoever saves it meanwhile sees that it is gone
        try:
            await self.ports.store.remove(session.id)
        except MusterError:
            self.registry.put(session.ended("released", self.ports.clock.now()))
            raise
        await self.claims.forget_ownerless()

    # Whose it is

    async def by_pid(self, caller: Caller, pid: int) -> Session:
        """The session whose leader is that process or an ancestor of it."""
        for process in await (await self.warden_of(caller.uid)).lineage(pid or caller.pid):
            session = self.registry.by_leader(process)
            if session is not None:
                return await self.session(caller, session.id)
        raise NoSuchSession(f"Process {pid or caller.pid} belongs to no session on the roll.")

    async def by_agent_session(self, caller: Caller, agent: Agent, agent_session_id: str) -> Session:
        uid = None if caller.uid == 0 else caller.uid
        found = self.registry.by_agent_session(agent, agent_session_id, uid)
        if not found:
            raise NoSuchSession(f"No session of {agent} on the roll has the id '{agent_session_id[:64]}'.")
        return found[0]

    # Wishes

    async def protect(self, caller: Caller, session_id: str, *, protected: bool) -> None:
        session = await self.session(caller, session_id)
        self.roll.change(session, replace(session, protected=protected))
        await self.roll.save(session.id)

    # Memory

    async def keep_modes(self, change: Callable[[Modes], Modes]) -> None:
        """On disk when it returns. Raises Failed, and then they are as they were.

        One change after the other: a mode that is set while another is written must not be lost.
        """
        async with self._keeping:
            modes = change(self.modes)
            await self.ports.store.save_modes(modes)
            self.modes = modes

    async def _mark_clock(self) -> None:
        """The daemon after this one compares stamps of before with its own now: it must know of steps."""
        mark, known = self.ports.clock.mark(), self.modes.clock
        if replace(mark, read=known.read) == known:
            return
        try:
            await self.keep_modes(lambda modes: replace(modes, clock=mark))
        except MusterError as exc:
            # Its next one sees an older mark, and trusts fewer stamps.
            logger.warning("How the clock is set cannot be remembered: %s, ignoring", exc)

    def _record(self, kind: str, what: str) -> None:
        self.ports.log.append(Record(self.ports.clock.now(), kind, text=what))

    async def history(
        self, caller: Caller, limit: int, before: int, after: int, session_id: str, kinds: Sequence[str] = ()
    ) -> Sequence[tuple[int, Record]]:
        uid = None if caller.uid == 0 else caller.uid
        return await self.ports.log.recent(
            limit, uid=uid, session=session_id, kinds=kinds, before=before, after=after
        )
