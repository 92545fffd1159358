"""Order the files of tests for the workers of a run: the longest first, so that both end together.

Each worker takes whole files (`--dist loadfile --no-loadscope-reorder`), in this order: what the tests of a
file share is set up once.
"""

import pytest

# Files that take more than ten seconds, the longest first.
LONGEST = (
    "tests/journeys/test_soak.py",
    "tests/journeys/test_page.py",
    "tests/journeys/test_slow_servers.py",
    "tests/journeys/test_kill.py",
    "tests/monitoring/cli/test_demo.py",
    "tests/test_docs.py",
    "tests/training/pipeline/test_forced_faults.py",
    "tests/journeys/test_train_to_serve.py",
    "tests/journeys/test_thirty_days.py",
    "tests/journeys/test_without_network.py",
    "tests/journeys/test_secrets.py",
    "tests/journeys/test_tutorial.py",
    "tests/journeys/test_restart.py",
)


def sort_for_workers(items: list[pytest.Item]) -> None:
    """Sort the tests of a run: the longest files first, then other slow tests, then the rest as collected."""
    ranks = {path: rank for rank, path in enumerate(LONGEST)}
    rest = len(LONGEST)
    items.sort(
        key=lambda item: ranks.get(
            item.nodeid.split("::")[0], rest + (item.get_closest_marker("slow") is None)
        )
    )
