"""`explain`: the verdict on one session in a sentence, then each gate with its evidence."""

from argparse import Namespace
from collections.abc import Sequence

from . import sessions, table
from .client import Client
from .style import OUTCOMES, VERDICTS, Style, paint
from .table import Cell, Column, Row
from .text import printable, span

MARKS = {"pass": "✓", "keep": "✗", "unknown": "?"}
LEGEND = "✓ lets it go, ✗ keeps it, ? cannot be told, which keeps it, too."

GateRow = tuple[str, str, int, str]  # name, outcome, age of the evidence in µs, evidence


async def run(client: Client, args: Namespace) -> None:
    session_id, _ = await sessions.resolve(client, args.id)
    verdict, kept_by, gates = await client.reaper("Explain", "s", session_id)
    if "json" in args:
        rows = [dict(zip(("Name", "Outcome", "AgeUSec", "Evidence"), gate, strict=True)) for gate in gates]
        print(sessions.as_json({"Id": session_id, "Verdict": verdict, "KeptBy": kept_by, "Gates": rows}))
        return
    is_legend = "no_legend" not in args
    head = [paint(sentence(session_id, verdict, kept_by, gates), VERDICTS.get(verdict, Style.BOLD)), ""]
    foot = ["", LEGEND] if is_legend else []
    table.show([*head, *_gates(gates, legend=is_legend), *foot], pager="no_pager" not in args)


def sentence(session_id: str, verdict: str, kept_by: str, gates: Sequence[GateRow]) -> str:
    evidence = next((gate[3] for gate in gates if gate[0] == kept_by), "")
    name = f"Session '{printable(session_id)}'"
    why = f"{printable(evidence)} (gate '{printable(kept_by)}')"
    match verdict:
        case "reap":
            return f"{name} would be reaped: every gate lets it go."
        case "eligible":
            return f"{name} could be reaped, but not now: {why}."
        case "keep":
            return f"{name} is kept: {why}."
    return f"{name} is kept: this musterctl does not know the verdict '{printable(verdict)}'."


def _gates(gates: Sequence[GateRow], *, legend: bool) -> list[str]:
    columns = [Column(" "), Column("GATE"), Column("AGE", right=True), Column("EVIDENCE", flexible=True)]
    rows: list[Row] = [
        [
            Cell(MARKS.get(outcome, "?"), OUTCOMES.get(outcome, Style.BLUE)),
            name,
            span(age) if age else "-",
            evidence,
        ]
        for name, outcome, age, evidence in gates
    ]
    return table.layout(columns, rows, legend=legend, room=0)  # evidence is never cut
