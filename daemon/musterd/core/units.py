"""Units: microseconds, and time spans and sizes as people read them."""

USEC_PER_SEC = 1_000_000
USEC_PER_HOUR = 3600 * USEC_PER_SEC
USEC_PER_TICK = 10_000  # of start times in /proc: USER_HZ is 100 on every architecture that systemd runs on


def span(usec: float) -> str:
    """A time span for people, in its two largest units."""
    seconds = int(usec // USEC_PER_SEC)
    if seconds < 60:
        return f"{usec / USEC_PER_SEC:.3g} s" if seconds < 10 else f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def size(count: int) -> str:
    """Bytes for people."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
