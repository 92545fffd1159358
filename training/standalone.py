"""Loader named by the MLmodel file of every registered version; code in
`training.registry.standalone`.

Versions registered by 0.1.0 and later name this module, so it stays importable under this path.
"""

from training.registry.standalone import StandaloneDetector, StandaloneForecaster, _load_pyfunc

__all__ = ["StandaloneDetector", "StandaloneForecaster", "_load_pyfunc"]
