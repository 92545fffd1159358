"""Garbage collections are rarer, and skip what was imported."""

import subprocess
import sys

DEFAULT_THRESHOLD = 700


def printed_by(code: str) -> str:
    """What a new Python process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_process_ends_without_a_last_collection():
    # Handlers run in reverse order of registration.
    code = (
        "import atexit, gc;"
        "atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 1000));"
        "from training.common.gc_tuning import reduce_gc_frequency;"
        "reduce_gc_frequency(); print(gc.get_freeze_count())"
    )

    before, at_the_end = printed_by(code).splitlines()

    assert before == "0"
    threshold, frozen = at_the_end.split()
    assert int(threshold) > DEFAULT_THRESHOLD
    assert frozen == "True"


def test_workers_are_forked_from_objects_that_are_never_collected():
    threshold, frozen = printed_by(
        "import gc; import training.pipeline.worker_preload; "
        "print(gc.get_threshold()[0], gc.get_freeze_count() > 100_000)"
    ).split()

    assert int(threshold) > DEFAULT_THRESHOLD
    assert frozen == "True"
