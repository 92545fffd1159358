"""What a worker needs, imported once for all of them by the process that they are forked from.

Knows the order in which imports cost least. What workers do is `pool`'s.
"""

from training.common.gc_tuning import be_patient, keep_all_there_is

be_patient()

from training.artifacts import skops_packing  # noqa: E402, F401
from training.pipeline import fit_detector, fit_forecaster  # noqa: E402, F401

keep_all_there_is()
