"""What a gate answers, in a word: it passes, it keeps, or it does not know."""

from musterd.core.case import Finding, Outcome


def passed(evidence: str, at: int = 0) -> Finding:
    return Finding(Outcome.PASS, evidence, at)


def kept(evidence: str, at: int = 0) -> Finding:
    return Finding(Outcome.KEEP, evidence, at)


def unknown(evidence: str, at: int = 0) -> Finding:
    return Finding(Outcome.UNKNOWN, evidence, at)
