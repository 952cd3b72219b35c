"""The running service: its tasks, the rounds that prove them alive, and what systemd is told."""

import asyncio
import logging
import signal
from collections.abc import Sequence

from musterd.bus.connection import BusConnection, BusState
from musterd.bus.errors import BusError, NameTaken
from musterd.core.config import Mistake
from musterd.core.errors import MusterError
from musterd.core.session import State
from musterd.host.collector import settle
from musterd.host.configfiles import read_config
from musterd.host.eventlog import SqliteEventLog
from musterd.host.notify import Notifier
from musterd.host.psi import Gauge
from musterd.host.ticks import next_tick
from musterd.manager import Manager
from musterd.options import Options
from musterd.reaping import Reaper
from musterd.remote import RemoteSessions

logger = logging.getLogger(__name__)

# Without a watchdog to feed, the round through all parts is made as often.
ROUND_INTERVAL = 30.0

# The status line is told anew no oftener than that: the service manager passes it on to all who listen.
STATUS_INTERVAL = 1.0

# Properties that say what is configured.
CONFIGURED = ("BudgetPerHour", "SessionsMax", "SessionsPerUserMax")


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
        self._telling: asyncio.TimerHandle | None = None  # the status line, soon
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
                settle()
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
                self._manager.health.set_trouble("bus", "")
                logger.info("The bus is back: %s", reason)
            case BusState.DOWN:
                self._manager.health.set_trouble("bus", f"the bus is down: {reason}")
            case BusState.REPLACED:
                self._lost = reason
                self._stop.set()

    def something_changed(self) -> None:
        """Perhaps what the status line tells."""
        if self._telling is None and not self._stop.is_set():
            self._telling = asyncio.get_running_loop().call_later(STATUS_INTERVAL, self._tell_status)

    def _tell_status(self) -> None:
        self._telling = None
        if not self._stop.is_set():
            self._notifier.status(self._status())

    def _reload(self) -> None:
        """A configuration with mistakes is not taken: what runs is known to work."""
        self._notifier.reloading()
        config, mistakes = read_config(self._options.config_file, is_named=self._options.is_config_named)
        for mistake in mistakes:
            logger.warning("%s", mistake)
        if mistakes:
            logger.error("Keeping the old configuration, the new one has %d mistakes", len(mistakes))
        else:
            self._manager.config = config
            self._gauge.config = config.pressure
            self._log.config = config.events
            self._manager.ports.announcer.manager_changed(*CONFIGURED)
            logger.info("Configuration '%s' was read again", self._options.config_file)
        self.tell_of(mistakes, "the one before stays in force")
        self._notifier.ready(self._status())

    def tell_of(self, mistakes: Sequence[Mistake], outcome: str) -> None:
        """In its health, which everybody may read: what they are is for who may read the journal.

        `musterd --check-config` cannot know: its caller may be able to read what the daemon is not.
        """
        wrong = f"{len(mistakes)} mistake{'' if len(mistakes) == 1 else 's'}"
        trouble = f"the configuration has {wrong}: {outcome}" if mistakes else ""
        self._manager.health.set_trouble("configuration", trouble)

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
            self._manager.health.set_trouble("store", str(exc))
        else:
            self._manager.health.set_trouble("store", "")

    async def _check_log(self) -> None:
        before = self._log_health
        await self._log.check()
        self._log_health = self._log.health
        if self._log_health != before:
            self._manager.ports.announcer.manager_changed("Health", "HealthReasons")

    def _status(self) -> str:
        sessions = self._manager.registry.current()
        busy = sum(1 for session in sessions if session.state is State.BUSY)
        health = self._manager.health.reasons
        text = f"{len(sessions)} session{'' if len(sessions) == 1 else 's'}, {busy} busy"
        text += f"; pressure {self._manager.pressure.tier}; reaper {self._reaper.mode}"
        return text + (f"; degraded: {health[0]}" if health else "")
