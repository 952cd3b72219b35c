"""The composition root: makes the parts, wires them, and lets the service run."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from musterd.agents.catalog import ADAPTERS
from musterd.bus.announcer import BusAnnouncer
from musterd.bus.caller import Callers
from musterd.bus.connection import BusConnection
from musterd.bus.contract import Contract
from musterd.bus.door import Door
from musterd.bus.errors import BusError
from musterd.bus.front import Front
from musterd.bus.holds import Holds
from musterd.bus.limits import Limits
from musterd.bus.log_control_iface import LogControlInterface
from musterd.bus.login1 import Shutdowns
from musterd.bus.manager_iface import ManagerInterface, manager_values
from musterd.bus.names import BUS_NAME, LOG_CONTROL, MANAGER, REAPER, SESSION, STOP_GATE, WARDENS
from musterd.bus.reaper_iface import ReaperInterface, reaper_values
from musterd.bus.session_iface import SessionInterface
from musterd.bus.stopgate_iface import StopGateInterface, stop_gate_values
from musterd.bus.wardens_iface import WardensInterface
from musterd.claiming import Claiming
from musterd.core.config import Config, Mistake
from musterd.core.errors import MusterError
from musterd.ender import Ender
from musterd.gatekeeper import Gatekeeper
from musterd.hooks import Hooks
from musterd.host import journal
from musterd.host.clock import HostClock
from musterd.host.eventlog import SqliteEventLog
from musterd.host.logcontrol import LogControl
from musterd.host.process import boot_id
from musterd.host.psi import Gauge
from musterd.host.store import FileStore
from musterd.inhibiting import Inhibiting
from musterd.judge import Judge
from musterd.manager import Manager
from musterd.options import Options
from musterd.ports import Clock, Ports
from musterd.realm import Realm
from musterd.reaping import Reaper
from musterd.remote import RemoteSessions
from musterd.reviver import Reviver
from musterd.service import Service

logger = logging.getLogger(__name__)

HOOK_PAYLOAD = 256 * 1024
LIMITS = Limits(long_strings={(MANAGER, "ReportEvent"): HOOK_PAYLOAD})


async def serve(options: Options, config: Config, mistakes: Sequence[Mistake] = ()) -> int:
    """Run until told to stop -> the exit status, 1 if what it needs (bus, state) cannot be had."""
    failures: list[Exception] = []
    try:
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
            service = await _build(options, config, stack, tasks)
            service.tell_of(mistakes, "what is wrong has its default")
            await service.run()
    except* (BusError, MusterError) as group:
        failures += _leaves(group)
    for failure in failures:
        logger.error("%s", failure)
    return 1 if failures else 0


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for exc in group.exceptions:
        found += _leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return found


async def _build(
    options: Options, config: Config, stack: AsyncExitStack, tasks: asyncio.TaskGroup
) -> Service:
    clock, contract = HostClock(), Contract.load()
    announcer = BusAnnouncer(contract)
    stack.callback(announcer.close)
    store = FileStore(options.state_dir)
    stack.push_async_callback(store.close)
    log = _event_log(options, config, clock)
    stack.push_async_callback(log.close)
    realm = await stack.enter_async_context(_realm(options, config, clock, tasks))
    gauge = Gauge(config.pressure, clock)
    ports = Ports(
        realm.wardens, store, log, announcer, realm.authority, clock, gauge, ADAPTERS, boot_id(), os.getpid()
    )
    parts = _Parts(Manager(config, ports))
    stack.callback(parts.holds.close)
    await parts.manager.load()
    door = Door(parts.manager)
    front = parts.front(contract, door, realm)
    bus = await stack.enter_async_context(BusConnection.open(options.bus, tasks, front=front))
    door.callers = Callers(bus)
    realm.connect(bus)
    announcer.claims_of, announcer.root_values = parts.manager.claims.active, parts.root_values
    announcer.bus = bus
    service = Service(parts.manager, parts.remote, parts.reaper, bus, gauge, log, options)
    bus.listen(service.bus_changed)
    announcer.on_change = service.something_changed
    await stack.enter_async_context(_shutdowns(parts.manager, bus, options, tasks))
    await bus.claim(BUS_NAME)  # last: whoever calls now finds everything in place
    realm.begin()
    return service


def _event_log(options: Options, config: Config, clock: Clock) -> SqliteEventLog:
    database = os.path.join(options.state_dir, "events.db")
    quarantine = os.path.join(options.state_dir, "quarantine")
    return SqliteEventLog(database, quarantine, config.events, clock, tell=journal.tell)


def _realm(
    options: Options, config: Config, clock: Clock, tasks: asyncio.TaskGroup
) -> AbstractAsyncContextManager[Realm]:
    """What the other kind takes is not even loaded: an idle daemon is small."""
    if options.is_system:
        from musterd import system

        return system.realm(config, clock, tasks)
    from musterd import single

    return single.realm(options, config, clock)


class _Parts:
    """The manager, and who works through it."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.holds = Holds(manager.inhibitors.give_back)
        manager.inhibitors.on_given_back, manager.inhibitors.on_found = self.holds.drop, self.holds.follow
        self.remote = RemoteSessions(manager)
        self.ender = Ender(manager)
        self.reviver = Reviver(manager)
        self.judge = Judge(manager)
        self.reaper = Reaper(manager, self.judge, self.ender)

    def root_values(self) -> dict[str, dict[str, object]]:
        return {
            MANAGER: manager_values(self.manager),
            REAPER: reaper_values(self.manager, self.judge),
            STOP_GATE: stop_gate_values(self.manager),
        }

    def front(self, contract: Contract, door: Door, realm: Realm) -> Front:
        """What the bus is served with."""
        manager = self.manager
        gatekeeper = Gatekeeper(manager, door.is_here)
        hooks = Hooks(manager, gatekeeper)
        manager_iface = ManagerInterface(
            manager, hooks, self.remote, self.ender, self.reviver, Inhibiting(manager), door, self.holds
        )
        reaper_iface = ReaperInterface(manager, self.judge, self.reaper, door)
        stop_gate_iface = StopGateInterface(manager, gatekeeper, Claiming(manager), door)
        front = Front(contract, door, LIMITS)
        front.uid_of = door.uid_of
        front.register(MANAGER, manager_iface.handlers)
        front.register(REAPER, reaper_iface.handlers)
        front.register(STOP_GATE, stop_gate_iface.handlers)
        front.properties(MANAGER, manager_iface.properties)
        front.properties(REAPER, reaper_iface.properties)
        front.properties(STOP_GATE, stop_gate_iface.properties)
        front.register(WARDENS, WardensInterface(realm.attach, door).handlers)
        front.properties(SESSION, SessionInterface(manager, self.judge).properties)
        log_control = LogControlInterface(LogControl(), door, os.getuid())
        front.properties(LOG_CONTROL, log_control.properties, log_control.set)
        front.check()
        return front


@asynccontextmanager
async def _shutdowns(
    manager: Manager, bus: BusConnection, options: Options, tasks: asyncio.TaskGroup
) -> AsyncIterator[None]:
    shutdowns = Shutdowns(manager.shutdown_changed)
    following = tasks.create_task(_follow(shutdowns, bus, options, tasks), name="shutdowns")
    try:
        yield
    finally:
        following.cancel()


async def _follow(
    shutdowns: Shutdowns, ours: BusConnection, options: Options, tasks: asyncio.TaskGroup
) -> None:
    """logind is on the system bus, wherever we are."""
    if options.is_system:
        return await shutdowns.follow(ours)
    try:
        async with BusConnection.open("system", tasks) as bus:
            await shutdowns.follow(bus)
    except BusError as exc:
        logger.debug("Nobody says whether the machine goes down, there is no system bus: %s", exc)
