"""The skops files written in half the time are those that skops writes, down to the schema.

The writer uses `skops.io._utils`, which skops may change in any version: these tests fail then.
"""

import io
import json
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from training.artifacts.model_files import TRUSTED_TYPES
from training.artifacts.skops_packing import MIN_STORED_BYTES, dump_skops

ROWS = np.random.default_rng(0).normal(size=(60, 2))
FITTED = [
    IsolationForest(n_estimators=5, random_state=0).fit(ROWS),
    LocalOutlierFactor(n_neighbors=5, novelty=True).fit(ROWS),
]
each_type = pytest.mark.parametrize("fitted", FITTED, ids=["forest", "lof"])


def schema_of(packed: bytes) -> dict:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return json.loads(archive.read("schema.json"))


def without_names(node):
    """A schema without what differs from one writing to the next: file names and object ids."""
    if isinstance(node, dict):
        return {key: without_names(value) for key, value in node.items() if key not in ("file", "__id__")}
    return [without_names(item) for item in node] if isinstance(node, list) else node


@each_type
def test_the_schema_is_the_one_that_skops_writes(fitted):
    ours, _ = dump_skops(fitted)

    assert without_names(schema_of(ours)) == without_names(schema_of(skops.io.dumps(fitted)))


@each_type
def test_skops_reads_the_file_as_the_object_that_was_written(fitted):
    packed, _ = dump_skops(fitted)

    again = skops.io.loads(packed, trusted=list(TRUSTED_TYPES))

    np.testing.assert_array_equal(again.score_samples(ROWS), fitted.score_samples(ROWS))


@each_type
def test_the_types_include_every_one_that_skops_does_not_trust(fitted):
    packed, types = dump_skops(fitted)

    untrusted = skops.io.get_untrusted_types(data=packed)
    assert {name for name in untrusted if not any(name in listed for listed in types)} == set()


def test_large_arrays_are_stored_and_small_ones_deflated():
    rows = np.random.default_rng(0).normal(size=(MIN_STORED_BYTES // 16 + 1, 2))
    packed, _ = dump_skops({"large": rows, "small": rows[:10]})

    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        arrays = sorted(
            (entry.file_size, entry.compress_type)
            for entry in archive.infolist()
            if entry.filename.endswith(".npy")
        )
    assert [kind for _, kind in arrays] == [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]
