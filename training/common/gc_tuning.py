"""Run Python's cyclic garbage collector less often, for processes that import much.

The libraries leave hundreds of thousands of objects that stay. With Python's defaults they are scanned five
hundred times while they are imported (a fifth of the start of a training), again whenever a quarter as many
objects have been added (0.1 s each), and once more when the process ends (0.4 s). Entry points call this.
"""

import atexit
import gc

GC_THRESHOLD = 20_000  # new objects that start a collection; Python's default is 700


def reduce_gc_frequency() -> None:
    """Collect less often, and not when the process ends; call before the large imports."""
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(freeze_objects)


def freeze_objects() -> None:
    """Exclude the objects that exist now from later collections; call after the large imports."""
    gc.freeze()
