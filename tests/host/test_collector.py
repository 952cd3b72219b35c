"""What stays is not looked through for garbage; what comes later is."""

import subprocess
import sys
from pathlib import Path

DAEMON = Path(__file__).parents[2] / "daemon"

PROGRAM = """
import gc
from weakref import ref
from musterd.host.collector import THRESHOLD, settle

class Cycle:
    def __init__(self) -> None:
        self.itself = self

stays = Cycle()
before = Cycle()
gone = ref(before)
del before
settle()
assert gone() is None and gc.get_freeze_count() > 1000
assert not any(thing is stays for thing in gc.get_objects())

later = ref(Cycle())
kept = [[] for _ in range(2 * THRESHOLD)]
assert later() is None
"""


def test_what_is_there_by_then_stays_and_what_comes_later_is_still_collected() -> None:
    """In an interpreter of its own: this one is not to be settled."""
    subprocess.run([sys.executable, "-c", PROGRAM], env={"PYTHONPATH": str(DAEMON)}, check=True, timeout=60)
