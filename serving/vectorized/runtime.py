"""Hold what the packed detectors of a process share: memory for trees, a table of numbers, and threads.

Built by the entry points (the service, batch scoring, the replay of a version) and passed to what loads
detectors. A packed detector belongs to one runtime; `batch_scoring` scores those of one runtime together.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from serving.vectorized.packed_forest import ForestArena
from serving.vectorized.parameter_table import ParameterTable


class ScoringRuntime:
    """Memory and threads of packed detectors; safe for several threads."""

    def __init__(self) -> None:
        self.forests = ForestArena()
        self.parameters = ParameterTable()
        # Threads start at the first request that needs one.
        self.pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="forests")
