"""Garbage is searched for less often, and what is imported not at all."""

import subprocess
import sys

BY_DEFAULT = 700


def said_by(code: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_patience_lasts_to_the_end_of_the_process():
    # What is registered first is called last.
    code = (
        "import atexit, gc;"
        "atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 1000));"
        "from training.common.gc_tuning import reduce_gc_frequency; reduce_gc_frequency(); print(gc.get_freeze_count())"
    )

    before, at_the_end = said_by(code).splitlines()

    assert before == "0"
    threshold, frozen = at_the_end.split()
    assert int(threshold) > BY_DEFAULT
    assert frozen == "True"


def test_workers_are_forked_from_what_is_never_searched_again():
    threshold, frozen = said_by(
        "import gc; import training.pipeline.worker_preload; "
        "print(gc.get_threshold()[0], gc.get_freeze_count() > 100_000)"
    ).split()

    assert int(threshold) > BY_DEFAULT
    assert frozen == "True"
