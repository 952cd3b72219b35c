"""`hooks`: puts musterd's hooks into the settings of the agents, takes them out, says how they are."""

import os
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from musterd.agents.catalog import ADAPTERS
from musterd.core.session import Agent

from . import sessions, table
from .client import Where, connect
from .failure import CtlError, Exit, Misused, complain
from .style import Style
from .table import Cell, Column
from .text import ago, printable
from .wiring import Hooks, Report, Wiring

HOOKED = tuple(agent for agent, adapter in ADAPTERS.items() if adapter.hooks)

STYLES = {Hooks.OUTDATED: Style.YELLOW, Hooks.MISSING: Style.DIM, Hooks.BROKEN: Style.RED}
LEGEND = "HEARD is when a hook of it last reached the daemon. Beside a '!': what keeps hooks from running."


@dataclass(frozen=True, slots=True)
class Standing:
    """How it is with the hooks of one agent."""

    wiring: Wiring
    report: Report
    heard: int | None  # realtime µs; 0 is never, None: no daemon to ask
    version: str

    @property
    def agent(self) -> Agent:
        return self.wiring.adapter.agent

    @property
    def unsupported(self) -> str:
        """Why the version of the agent is not one that our facts are from; "" also where there is none."""
        return self.wiring.adapter.unsupported(self.version) if self.wiring.command else ""


async def run(where: Where, args: Namespace) -> int:
    wirings = [Wiring(ADAPTERS[agent]) for agent in _chosen(args)]
    match args.what:
        case "install":
            return _change(wirings, args, Wiring.install, "installed")
        case "uninstall":
            return _change(wirings, args, Wiring.uninstall, "uninstalled")
    _show([stand(wiring, await heard(where)) for wiring in wirings], args)
    return Exit.DONE


def _chosen(args: Namespace) -> Sequence[Agent]:
    named = getattr(args, "agents", None)
    if unknown := [name for name in named or () if name not in HOOKED]:
        raise Misused(f"'{unknown[0]}' has no hooks.", f"Those that have: {', '.join(HOOKED)}.")
    if named or args.what != "install":
        return [Agent(name) for name in dict.fromkeys(named or HOOKED)]
    here = [agent for agent in HOOKED if Wiring(ADAPTERS[agent]).is_agent_here]
    if not here:
        raise CtlError("No agent was found, neither its program nor its settings.", "Name it.")
    return here


def _change(wirings: Sequence[Wiring], args: Namespace, change: Callable[[Wiring], bool], done: str) -> int:
    """One that fails does not keep the others from it."""
    rows, status = [], Exit.DONE
    for wiring in wirings:
        try:
            changed = change(wiring)
        except CtlError as exc:
            status = complain(exc)
            continue
        rows.append({"Agent": wiring.adapter.agent, "File": wiring.path, "Changed": changed})
        if "json" not in args:
            word = done if changed else f"{done} already" if done == "installed" else "nothing to do"
            print(f"{wiring.adapter.agent}: {word} ({printable(wiring.path)})")
            if done == "installed" and (doubt := wiring.report().doubt):
                print(f"  -> {printable(doubt)}")
    if "json" in args and not (status and not rows):
        print(sessions.as_json(rows))
    return status


async def heard(where: Where) -> Mapping[str, int] | None:
    """When a hook last reached the daemon, by agent; None if there is no daemon to ask."""
    try:
        async with connect(where) as client:
            found = await sessions.everything(client, ended=True)
    except CtlError:
        return None
    latest: dict[str, int] = {}
    for session in found:
        if session["UID"] == os.getuid():
            name, at = str(session["Agent"]), int(session.get("LastHookUSec", 0))
            latest[name] = max(latest.get(name, 0), at)
    return latest


def stand(wiring: Wiring, known: Mapping[str, int] | None) -> Standing:
    name = wiring.adapter.agent.value
    return Standing(wiring, wiring.report(), None if known is None else known.get(name, 0), wiring.version())


def _show(standings: Sequence[Standing], args: Namespace) -> None:
    if "json" in args:
        print(sessions.as_json([_row(standing) for standing in standings]))
        return
    is_legend = "no_legend" not in args
    columns = [Column(name) for name in ("AGENT", "HOOKS", "HEARD", "VERSION")]
    columns.append(Column("FILE", flexible=True))
    cells = [_cells(standing, time.time_ns() // 1000) for standing in standings]
    lines = table.layout(columns, cells, legend=is_legend, room=table.room())
    lines += [f"! {standing.agent}: {printable(why)}" for standing in standings for why in _doubts(standing)]
    table.show([*lines, *(["", LEGEND] if is_legend else [])], pager="no_pager" not in args)


def _doubts(standing: Standing) -> list[str]:
    return [why for why in (standing.report.trouble, standing.report.doubt, standing.unsupported) if why]


def _cells(standing: Standing, now: int) -> list[Cell | str]:
    hooks, at = standing.report.hooks, standing.heard
    mark = " !" if _doubts(standing) else ""
    return [
        standing.agent.value,
        Cell(hooks.value + mark, STYLES.get(hooks, Style.GREEN if not mark else Style.YELLOW)),
        "?" if at is None else ago(at, now) if at else "never",
        standing.version or ("?" if standing.wiring.command else ""),
        standing.wiring.path,
    ]


def _row(standing: Standing) -> dict[str, object]:
    return {
        "Agent": standing.agent.value,
        "Hooks": standing.report.hooks.value,
        "Trouble": standing.report.trouble,
        "Doubt": standing.report.doubt,
        "HeardUSec": standing.heard,
        "Version": standing.version,
        "Unsupported": standing.unsupported,
        "File": standing.wiring.path,
    }
