"""The composition root: makes the parts, wires them, runs them, and tells systemd how they fare."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from musterd.agents.catalog import ADAPTERS
from musterd.authority import Operators
from musterd.bus.announcer import BusAnnouncer
from musterd.bus.caller import Callers
from musterd.bus.connection import BusConnection, BusState
from musterd.bus.contract import Contract
from musterd.bus.door import Door
from musterd.bus.errors import BusError, NameTaken
from musterd.bus.front import Front
from musterd.bus.holds import Holds
from musterd.bus.limits import Limits
from musterd.bus.log_control_iface import LogControlInterface
from musterd.bus.login1 import Shutdowns
from musterd.bus.manager_iface import ManagerInterface, manager_values
from musterd.bus.names import BUS_NAME, LOG_CONTROL, MANAGER, REAPER, SESSION, STOP_GATE, WARDENS
from musterd.bus.polkit import Polkit
from musterd.bus.reaper_iface import ReaperInterface, reaper_values
from musterd.bus.session_iface import SessionInterface
from musterd.bus.stopgate_iface import StopGateInterface, stop_gate_values
from musterd.bus.systemd1 import WardenUnits
from musterd.bus.wardens_iface import WardensInterface
from musterd.claiming import Claiming
from musterd.core.config import Config
from musterd.core.errors import MusterError
from musterd.core.session import State
from musterd.ender import Ender
from musterd.gatekeeper import Gatekeeper
from musterd.hooks import Hooks
from musterd.host import journal
from musterd.host.clock import HostClock
from musterd.host.configfiles import read_config
from musterd.host.eventlog import SqliteEventLog
from musterd.host.logcontrol import LogControl
from musterd.host.notify import Notifier
from musterd.host.process import boot_id
from musterd.host.psi import Gauge
from musterd.host.store import FileStore
from musterd.host.ticks import next_tick
from musterd.judge import Judge
from musterd.manager import Manager
from musterd.options import Options
from musterd.ports import Clock, Ports
from musterd.reaping import Reaper
from musterd.remote import RemoteSessions
from musterd.reviver import Reviver
from musterd.warden.alone import Alone
from musterd.warden.census import Census
from musterd.warden.local import LocalWarden
from musterd.warden.remotes import RemoteWardens

logger = logging.getLogger(__name__)

# Without a watchdog to feed, the round through all parts is made as often.
ROUND_INTERVAL = 30.0

HOOK_PAYLOAD = 256 * 1024
LIMITS = Limits(long_strings={(MANAGER, "ReportEvent"): HOOK_PAYLOAD})


class Service:
    """All parts, and the rounds that prove them alive."""

    def __init__(
        self,
        manager: Manager,
        remote: RemoteSessions,
        reaper: Reaper,
        bus: BusConnection,
        gauge: Gauge,
        log: SqliteEventLog,
        options: Options,
    ) -> None:
        self._manager = manager
        self._remote = remote
        self._gauge = gauge
        self._log = log
        self._log_health = ""  # as told
        self._reaper = reaper
        self._bus = bus
        self._options = options
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._lost = ""  # why the bus name will not come back

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises NameTaken when another program has the bus name for good."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = [
                    tasks.create_task(self._manager.run(), name="manager"),
                    tasks.create_task(self._remote.run(), name="remote"),
                    tasks.create_task(self._reaper.run(), name="reaper"),
                    tasks.create_task(self._rounds(), name="rounds"),
                ]
                self._notifier.ready(self._status())
                await self._stop.wait()
                self._notifier.stopping("Stopping")
                for part in parts:
                    part.cancel()
        finally:
            self._notifier.close()
        if self._lost:
            raise NameTaken(self._lost)

    def bus_changed(self, state: BusState, reason: str) -> None:
        match state:
            case BusState.UP | BusState.MOVED:
                self._manager.set_trouble("bus", "")
                logger.info("The bus is back: %s", reason)
            case BusState.DOWN:
                self._manager.set_trouble("bus", f"the bus is down: {reason}")
            case BusState.REPLACED:
                self._lost = reason
                self._stop.set()

    def _reload(self) -> None:
        """A configuration with mistakes is not taken: what runs is known to work."""
        self._notifier.reloading()
        config, mistakes = read_config(self._options.config_file)
        for mistake in mistakes:
            logger.warning("%s", mistake)
        if mistakes:
            logger.error("Keeping the old configuration, the new one has %d mistakes", len(mistakes))
        else:
            self._manager.config = config
            self._gauge.config = config.pressure
            self._log.config = config.events
            logger.info("Configuration '%s' was read again", self._options.config_file)
        self._notifier.ready(self._status())

    async def _rounds(self) -> None:
        """WATCHDOG=1 is earned: only if loop, bus and store have all just worked."""
        while True:
            await next_tick(self._notifier.watchdog_interval or ROUND_INTERVAL)
            await self._check_store()
            await self._check_log()
            try:
                await self._bus.probe()
            except BusError as exc:
                logger.warning("The bus does not answer, telling systemd nothing: %s", exc)
                continue
            self._notifier.watchdog()
            self._notifier.status(self._status())

    async def _check_store(self) -> None:
        """A full disk is told of: no restart would cure it. One that hangs holds the watchdog up."""
        try:
            await self._manager.ports.store.check()
        except MusterError as exc:
            self._manager.set_trouble("store", str(exc))
        else:
            self._manager.set_trouble("store", "")

    async def _check_log(self) -> None:
        before = self._log_health
        await self._log.check()
        self._log_health = self._log.health
        if self._log_health != before:
            self._manager.ports.announcer.manager_changed("Health", "HealthReasons")

    def _status(self) -> str:
        sessions = self._manager.registry.current()
        busy = sum(1 for session in sessions if session.state is State.BUSY)
        health = self._manager.health_reasons
        return (
            f"{len(sessions)} sessions, {busy} busy; pressure {self._manager.pressure.tier}; "
            f"reaper {self._reaper.mode}" + (f"; degraded: {health[0]}" if health else "")
        )


async def serve(options: Options, config: Config) -> int:
    """Run until told to stop -> the exit status, 1 if what it needs (bus, state) cannot be had."""
    failures: list[Exception] = []
    try:
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
            service = await _build(options, config, stack, tasks)
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
    clock = HostClock()
    contract = Contract.load()
    announcer = BusAnnouncer(contract)
    stack.callback(announcer.close)
    store = FileStore(options.state_dir)
    stack.push_async_callback(store.close)
    log = SqliteEventLog(
        os.path.join(options.state_dir, "events.db"),
        os.path.join(options.state_dir, "quarantine"),
        config.events,
        clock,
        tell=journal.tell,
    )
    stack.push_async_callback(log.close)
    units = WardenUnits()
    interval = config.discovery.interval if config.discovery.enabled else None
    wardens = await stack.enter_async_context(_wardens(options, clock, interval, units, tasks))
    polkit = Polkit()
    authority = polkit if options.is_system else Operators(os.getuid())
    gauge = Gauge(config.pressure, clock)
    ports = Ports(wardens, store, log, announcer, authority, clock, gauge, ADAPTERS, boot_id(), os.getpid())
    manager = Manager(config, ports)
    remote, ender, reviver = RemoteSessions(manager), Ender(manager), Reviver(manager)
    judge = Judge(manager)
    reaper = Reaper(manager, judge, ender)
    await manager.load()
    front, door = _front(manager, remote, ender, reviver, judge, reaper, wardens.attach, contract, stack)
    bus = await stack.enter_async_context(BusConnection.open(options.bus, tasks, front=front))
    callers = Callers(bus)
    stack.callback(callers.forget_all)
    door.callers = callers
    polkit.bus = units.bus = bus
    announcer.claims_of = manager.claims.active
    announcer.root_values = lambda: {
        MANAGER: manager_values(manager),
        REAPER: reaper_values(manager, judge),
        STOP_GATE: stop_gate_values(manager),
    }
    announcer.bus = bus
    service = Service(manager, remote, reaper, bus, gauge, log, options)
    bus.listen(service.bus_changed)
    shutdowns = Shutdowns(manager.shutdown_changed)
    following = tasks.create_task(_follow(shutdowns, bus, options, tasks), name="shutdowns")
    stack.callback(following.cancel)
    await bus.claim(BUS_NAME)  # last: whoever calls now finds everything in place
    if isinstance(wardens, RemoteWardens):  # which are started over the bus
        census = tasks.create_task(Census(wardens, ADAPTERS.values(), interval).run(), name="census")
        stack.callback(census.cancel)
    return service


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


@asynccontextmanager
async def _wardens(
    options: Options, clock: Clock, interval: float | None, units: WardenUnits, tasks: asyncio.TaskGroup
) -> AsyncIterator[Alone | RemoteWardens]:
    """In single-user mode the one warden is a plain object; the system daemon has none in process."""
    if options.is_system:
        remotes = RemoteWardens(units, tasks, clock, interval)
        try:
            yield remotes
        finally:
            await remotes.close()
        return
    home, adapters = str(Path.home()), list(ADAPTERS.values())
    warden = LocalWarden(os.getuid(), adapters, clock, home, bus=options.bus, interval=interval)
    try:
        yield Alone(warden)
    finally:
        await warden.close()


def _front(
    manager: Manager,
    remote: RemoteSessions,
    ender: Ender,
    reviver: Reviver,
    judge: Judge,
    reaper: Reaper,
    attach: Callable[[int, int], Awaitable[int]],
    contract: Contract,
    stack: AsyncExitStack,
) -> tuple[Front, Door]:
    door = Door(manager)
    holds = Holds(manager.inhibitors.give_back)
    manager.inhibitors.on_given_back = holds.drop
    stack.callback(holds.close)
    front = Front(contract, door, LIMITS)
    front.uid_of = door.uid_of
    gatekeeper = Gatekeeper(manager, door.is_here)
    hooks = Hooks(manager, gatekeeper)
    manager_iface = ManagerInterface(manager, hooks, remote, ender, reviver, door, holds)
    reaper_iface = ReaperInterface(manager, judge, reaper, door)
    stop_gate_iface = StopGateInterface(manager, gatekeeper, Claiming(manager), door)
    front.register(MANAGER, manager_iface.handlers)
    front.register(REAPER, reaper_iface.handlers)
    front.register(STOP_GATE, stop_gate_iface.handlers)
    front.register(WARDENS, WardensInterface(attach, door).handlers)
    front.properties(MANAGER, manager_iface.properties)
    front.properties(REAPER, reaper_iface.properties)
    front.properties(STOP_GATE, stop_gate_iface.properties)
    front.properties(SESSION, SessionInterface(manager, judge).properties)
    log_control = LogControlInterface(LogControl(), door, os.getuid())
    front.properties(LOG_CONTROL, log_control.properties, log_control.set)
    front.check()
    return front, door
