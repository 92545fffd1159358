"""What a worker needs, imported once for all of them by the process that they are forked from.

Knows the order in which imports cost least. What workers do is `pool`'s.
"""

from training.common.gc_tuning import freeze_objects, reduce_gc_frequency

reduce_gc_frequency()

from training.artifacts import skops_packing  # noqa: E402, F401
from training.pipeline import fit_detector, fit_forecaster  # noqa: E402, F401

freeze_objects()
