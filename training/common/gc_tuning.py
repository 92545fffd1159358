"""Python's search for garbage in cycles, told to be patient.

Knows that what is imported is hundreds of thousands of objects that stay: by Python's own settings they are
looked through five hundred times while they come, a fifth of a training's start; again whenever a quarter as
many have been added, 0.1 s each time; and at last when the process ends, 0.4 s for what it would free anyhow.
"""

import atexit
import gc

GC_THRESHOLD = 20_000  # objects more than before that make a search worth it; Python's own is 700


def reduce_gc_frequency() -> None:
    """Search less often from now on, and not when the process ends; to be called before much is imported."""
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(freeze_objects)


def freeze_objects() -> None:
    """Leave what is there now out of every later search; to be called when all is imported."""
    gc.freeze()
