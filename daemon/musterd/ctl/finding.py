"""What `doctor` found."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    OK = "ok"
    NOTE = "note"  # nothing is wrong, but one should know
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    grade: Grade
    text: str
    advice: str = ""
