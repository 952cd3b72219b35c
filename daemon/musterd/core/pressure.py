"""Memory pressure: readings, tiers, and the dwell that keeps a tier from flapping."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from musterd.core.config import PressureConfig
from musterd.core.units import USEC_PER_SEC


class Tier(StrEnum):
    NORMAL = "normal"
    ELEVATED = "elevated"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Tier).index(self)


class PressureSource(StrEnum):
    PSI = "psi"
    PSUTIL = "psutil"  # the kernel has no PSI: available memory alone decides
    NONE = "none"  # nothing was read yet


@dataclass(frozen=True, slots=True)
class Psi:
    """Share of time in per cent that some, or all, tasks stalled on memory; total in µs."""

    some_avg10: float
    full_avg10: float
    some_total: int


@dataclass(frozen=True, slots=True)
class Reading:
    at: int  # realtime µs
    source: PressureSource
    some_avg10: float
    full_avg10: float
    available: int  # bytes
    total: int

    @property
    def available_share(self) -> float:
        return 100.0 * self.available / self.total if self.total else 100.0

    def __str__(self) -> str:
        return (
            f"some {self.some_avg10:.1f} %, full {self.full_avg10:.1f} %, "
            f"{self.available_share:.1f} % of {self.total / 2**30:.1f} GiB available ({self.source})"
        )


@dataclass(frozen=True, slots=True)
class Pressure:
    """The tier in force, the reading that was made last, and since when both a lower tier would do."""

    tier: Tier = Tier.NORMAL
    since: int = 0
    below_since: int = 0
    reading: Reading = Reading(0, PressureSource.NONE, 0.0, 0.0, 0, 0)

    def next(self, reading: Reading, config: PressureConfig) -> "Pressure":
        """Rising is immediate; falling needs a dwell below a lower threshold."""
        now = reading.at
        if tier_of(reading, config).rank > self.tier.rank:
            return Pressure(tier_of(reading, config), now, 0, reading)
        lower = tier_of(reading, config, ease=FALL)
        if lower.rank >= self.tier.rank:
            return replace(self, reading=reading, below_since=0, since=self.since or now)
        # What is dated in the future is of a clock that was set back since.
        below_since = self.below_since if 0 < self.below_since <= now else now
        if now - below_since < config.dwell * USEC_PER_SEC:
            return replace(self, reading=reading, below_since=below_since)
        return Pressure(lower, now, 0, reading)


# A tier is left only below 0.7 of the thresholds that it was entered at.
FALL = 0.7


def tier_of(reading: Reading, config: PressureConfig, ease: float = 1.0) -> Tier:
    """The tier of one reading alone. Thresholds shrink by `ease` (and those of available memory grow)."""
    available = reading.available_share * ease
    if reading.full_avg10 >= config.critical_full * ease or available <= config.critical_available:
        return Tier.CRITICAL
    if reading.some_avg10 >= config.elevated_some * ease or available <= config.elevated_available:
        return Tier.ELEVATED
    return Tier.NORMAL


_PSI_LINE = re.compile(r"^(some|full) avg10=([0-9.]+) avg60=[0-9.]+ avg300=[0-9.]+ total=(\d+)$")


def parse_psi(text: str) -> Psi:
    """The format of /proc/pressure/memory (Documentation/accounting/psi.rst)."""
    found: dict[str, tuple[float, int]] = {}
    for line in text.splitlines():
        match = _PSI_LINE.match(line)
        if not match:
            raise ValueError(f"not a line of a pressure file: {line[:80]!r}")
        found[match[1]] = (float(match[2]), int(match[3]))
    if "some" not in found:
        raise ValueError(f"no 'some' line in {text[:80]!r}")
    some_avg10, some_total = found["some"]
    return Psi(some_avg10, found.get("full", (0.0, 0))[0], some_total)


_MEMINFO_LINE = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


def parse_meminfo(text: str) -> tuple[int, int]:
    """(available, total) in bytes from the text of /proc/meminfo (proc_meminfo(5))."""
    found = {match[1]: int(match[2]) * 1024 for match in _MEMINFO_LINE.finditer(text)}
    if "MemTotal" not in found or "MemAvailable" not in found:
        raise ValueError(f"no MemTotal and MemAvailable in {text[:80]!r}")
    return found["MemAvailable"], found["MemTotal"]
