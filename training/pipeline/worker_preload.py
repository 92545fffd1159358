"""Imports of the process from which workers are forked, so that each library is imported once for all of
them.

The workers are run by `training.pipeline.worker_pool`.
"""

from training.common.gc_tuning import freeze_objects, reduce_gc_frequency

reduce_gc_frequency()

from training.artifacts import skops_packing  # noqa: E402, F401
from training.pipeline import fit_detector, fit_forecaster  # noqa: E402, F401

freeze_objects()
