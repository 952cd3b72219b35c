"""No life of a session is ended while it works or is needed, and the idle ones do become eligible.

2,000 lives, or as many as MUSTERD_LIVES says, from the seed in MUSTERD_SEED (0).
"""

import os

import pytest

from .play import Count, Life

LIVES = int(os.environ.get("MUSTERD_LIVES", "2000"))
MOST_KEPT = 0.002  # of the idle ones whose evidence is complete
SEED = int(os.environ.get("MUSTERD_SEED", "0"))


def test_no_life_ends_wrongly_and_idle_ones_become_eligible(capsys: pytest.CaptureFixture[str]) -> None:
    counted = Count()
    for seed in range(SEED, SEED + LIVES):
        Life(seed, counted).play()
    assert counted.lives == LIVES
    with capsys.disabled():
        print(f"\n{told(counted)}")
    # What is kept without a need costs memory, not work: rare orders of events that do so are no failure.
    assert len(counted.complete_but_kept) <= MOST_KEPT * counted.complete, counted.complete_but_kept[0]


def told(counted: Count) -> str:
    working, share = counted.needed.total(), 100 * counted.eligible / counted.idle
    return (
        f"{counted.lives} lives: 0 wrong ends in {working} verdicts while working or needed; "
        f"of {counted.idle} while long idle {share:.1f} % eligible, "
        f"and all but {len(counted.complete_but_kept)} of the {counted.complete} whose evidence was complete"
    )
