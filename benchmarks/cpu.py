"""CPU-seconds by phase, of this process and of those it waited for.

On a shared machine CPU time measures the cost of the work; wall time also measures what else runs.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


def cpu_seconds() -> float:
    """CPU time of this process and of the children it has waited for, system time included."""
    # To the microsecond; `os.times` counts in hundredths of a second.
    usages = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in usages)


class CpuClock:
    """Adds up CPU-seconds by the name of a phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add what the block costs."""
        started = cpu_seconds()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + cpu_seconds() - started
