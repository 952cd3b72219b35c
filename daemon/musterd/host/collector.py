"""Python's garbage collector, as it suits a program that stays."""

import gc

# Objects made and not gone again before it looks for cycles. A look at all sessions makes tens of thousands
# that stay until the next one: from Python's own 700 on, a third of the time went into walking through them.
THRESHOLD = 5_000


def settle() -> None:
    """Whatever is there by now stays to the end: it is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
