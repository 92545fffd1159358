"""The loader that the `MLmodel` file of every registered version names.

Do not move this module: versions that 0.1.0 registered name it too. The code is in
`training.registry.standalone`.
"""

from training.registry.standalone import StandaloneDetector, StandaloneForecaster, _load_pyfunc

__all__ = ["StandaloneDetector", "StandaloneForecaster", "_load_pyfunc"]
