"""What `doctor` says of the hooks of the agents that this user has."""

import time
from collections.abc import Iterator, Mapping, Sequence

from musterd.agents.catalog import ADAPTERS
from musterd.core.units import USEC_PER_SEC

from .failure import CtlError
from .finding import Finding, Grade
from .hook import patience
from .hooks import HOOKED, Standing, stand
from .text import ago
from .wiring import Hooks, Wiring


def findings(heard: Mapping[str, int] | None, hook_timeout: int) -> list[Finding]:
    """`heard` as of hooks.heard(); `hook_timeout` of the stop gate in µs, 0 if it is not known."""
    try:
        wirings = [Wiring(ADAPTERS[agent]) for agent in HOOKED]
        here = [stand(wiring, heard) for wiring in wirings if wiring.is_agent_here]
    except CtlError as exc:
        return [Finding("hooks", Grade.WRONG, str(exc), exc.hint)]
    now = time.time_ns() // 1000
    said = [finding for standing in here for finding in (_of(standing, now), *_version(standing))]
    return [*said, *_late(here, hook_timeout / USEC_PER_SEC)]


def _late(here: Sequence[Standing], timeout: float) -> Iterator[Finding]:
    """What the stop gate says when nobody waits for it any more lets the agent stop."""
    limits = {"a hook here (MUSTERD_HOOK_TIMEOUT)": patience()}
    limits |= {s.agent.value: s.wiring.limit for s in here if s.report.hooks is not Hooks.MISSING}
    for who, limit in limits.items():
        if limit < timeout:
            text = f"[stop-gate] hook-timeout is {timeout:g} s, but {who} waits {limit:g} s only"
            yield Finding("stop gate", Grade.WRONG, text, "See NOTES of musterd-hook(1).")


def _of(standing: Standing, now: int) -> Finding:
    name, agent, report = f"hooks of {standing.agent}", standing.agent.value, standing.report
    install = f"'musterctl hooks install {agent}' puts them in."
    match report.hooks:
        case Hooks.BROKEN:
            return Finding(name, Grade.WRONG, report.trouble, "Correct it, or move it away.")
        case Hooks.MISSING:
            return Finding(name, Grade.NOTE, f"not installed: {agent} is only watched from outside", install)
        case Hooks.OUTDATED:
            return Finding(name, Grade.WRONG, "outdated: not as they would be installed now", install)
    if report.doubt:
        advice = f"'musterctl hooks status {agent}' says it again."
        return Finding(name, Grade.WRONG, f"installed, but do not run: {report.doubt}", advice)
    if standing.heard:
        return Finding(name, Grade.OK, f"installed, last heard {ago(standing.heard, now)}")
    advice = f"Start {agent}, and let it do something." if standing.heard == 0 else ""
    return Finding(name, Grade.NOTE, "installed, but none was heard yet", advice)


def _version(standing: Standing) -> Iterator[Finding]:
    if standing.unsupported:
        name = f"version of {standing.agent}"
        yield Finding(name, Grade.NOTE, standing.unsupported, "It is watched, but never held to be idle.")
    elif standing.version:
        yield Finding(f"version of {standing.agent}", Grade.OK, standing.version)
