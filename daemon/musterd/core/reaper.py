"""The reaper's judgement: a session is kept unless every gate passes."""

from collections.abc import Callable, Sequence
from functools import partial

from musterd.core.case import Case, Explanation, Finding, Gate, Outcome, Verdict, World
from musterd.core.evidence import Transcript
from musterd.core.gates import CASE_GATES, WORLD_GATES, quiet_since

Broke = Callable[[str, Exception], None]


def explain(case: Case, world: World, broke: Broke = lambda _gate, _exc: None) -> Explanation:
    """Ask every gate, not only up to the first that keeps. `broke` is told of a gate that raises."""

    def ask(name: str, gate: Callable[[], Finding]) -> Gate:
        try:
            return Gate(name, gate())
        except Exception as exc:  # noqa: BLE001 - a gate that breaks must keep, whatever broke it
            broke(name, exc)
            return Gate(name, Finding(Outcome.UNKNOWN, f"the gate failed: {type(exc).__name__}: {exc}"))

    own = [ask(name, partial(gate, case)) for name, gate in CASE_GATES]
    machine = [ask(name, partial(gate, world, case)) for name, gate in WORLD_GATES]
    gates = (*own, *machine)
    kept_by = next((g.name for g in gates if g.finding.outcome is not Outcome.PASS), "")
    if not kept_by:
        verdict = Verdict.REAP
    elif any(g.name == kept_by for g in machine):
        verdict = Verdict.ELIGIBLE
    else:
        verdict = Verdict.KEEP
    return Explanation(case.session.id, verdict, kept_by, gates)


def rank(cases: Sequence[Case]) -> list[Case]:
    """Most private memory first; of what is alike, what costs least to resume; then the longest quiet.

    For cases whose verdict is reap.
    """
    return sorted(
        cases,
        key=lambda case: (-_class(case.look.usage.private), _class(_resume_cost(case)), quiet_since(case)),
    )


def _class(size: int) -> int:
    """Sizes within a factor of two are alike: some more memory is not worth a long conversation."""
    return size.bit_length()


def _resume_cost(case: Case) -> int:
    """What its agent reads again, and pays for: bytes of its record."""
    record = case.look.transcript
    return record.size if isinstance(record, Transcript) else 0
