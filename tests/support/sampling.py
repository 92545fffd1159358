"""Long repetitions in part: `make test` runs a seeded sample, `make test-long` all of them.

A test that samples has the marker `long`; the part that ran is in its report, and at the end of the run.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

LONG = bool(os.environ.get("SAFEPLAN_TEST_LONG"))
SEED = 1
PROPERTY = "sample"


@pytest.fixture
def sample(record_property: Callable[[str, object], None]) -> Callable[[Sequence[Any], int], list[Any]]:
    """A function that picks `count` of the given repetitions, in their order; all in a long run."""

    def pick(repetitions: Sequence[Any], count: int) -> list[Any]:
        if LONG:
            return list(repetitions)
        places = sorted(random.Random(SEED).sample(range(len(repetitions)), count))
        record_property(PROPERTY, f"{count} of {len(repetitions)}, seed {SEED}")
        return [repetitions[place] for place in places]

    return pick


class SampleReporter:
    """Prints what was sampled at the end of the run."""

    def __init__(self) -> None:
        self.samples: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the samples of a test."""
        if report.when == "call":
            values = (value for name, value in report.user_properties if name == PROPERTY)
            self.samples += [f"{value}: {report.nodeid}" for value in values]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print them."""
        if self.samples:
            terminalreporter.section("repetitions sampled; make test-long runs all")
            for line in sorted(self.samples):
                terminalreporter.line(line)
