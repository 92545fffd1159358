"""Read and write the files of fitted models: skops and plain JSON, each checked before anything is loaded.

Holds the allow-list of types, because a list inside the model it protects would protect nothing. What the
objects mean is up to `training.anomaly.serialization` and `training.forecasting.serialization`.
"""

import hashlib
import json
import math
import threading
import zipfile
from pathlib import Path
from typing import Any

from training.errors import UntrustedModel

# Types inside scikit-learn's Isolation Forest and LOF that skops does not trust by default.
TRUSTED_TYPES = (
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)

DATA = "data"  # MLflow's name for the folder that holds a model's own files
MODEL_FOLDER = "model"  # below `data/` in a version's artifacts; the tag model_sha256 is its digest

# NumPy reads an array's header with Python's parser, which may fail in several threads at once (3.11: "AST
# constructor recursion depth mismatch"): a sound file would be refused.
array_read_lock = threading.Lock()

_checked_type_sets: set[frozenset[str]] = set()  # sets of types that were checked before

MAX_FILE_BYTES = 64 * 2**20  # compressed or not; the largest model measured is under 4 MB


def write_skops(fitted: object, path: Path) -> None:
    """Write one fitted scikit-learn object.

    Raises:
        UntrustedModel: it contains a type that `read_skops` would refuse.
    """
    from training.artifacts.skops_packing import dump_skops  # noqa: PLC0415 - imports all of scikit-learn, 2 s

    packed, types = dump_skops(fitted)
    path.write_bytes(packed)
    # Checking the file of a forest takes 27 ms; the result depends on its types only.
    if types not in _checked_type_sets:
        _refuse_foreign_types(path)
        _checked_type_sets.add(types)


def read_skops(path: Path) -> Any:
    """Read one fitted scikit-learn object.

    Raises:
        UntrustedModel: the file is missing, truncated, not a skops file, too large, or contains a type that
            is not on the allow-list.
    """
    _refuse_large(path)
    _refuse_bomb(path)
    import skops.io  # noqa: PLC0415 - as above

    try:
        # Checks all types before it creates an object; a check of our own would double the time.
        with array_read_lock:
            return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    # A crafted file can make any constructor inside skops, numpy or scikit-learn raise.
    except Exception as error:
        _refuse_foreign_types(path)
        raise UntrustedModel(f"cannot read {path.name} as a model: {error}. Retrain this sensor.") from error


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write plain JSON with sorted keys.

    Raises:
        ValueError: a number is NaN or infinite, which is not JSON.
    """
    path.write_text(json.dumps(content, allow_nan=False, sort_keys=True), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a plain JSON object whose numbers are all finite.

    Raises:
        UntrustedModel: the file is missing, too large, not a JSON object, or contains NaN or infinity.
    """
    _refuse_large(path)
    try:
        content = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise UntrustedModel(f"{path.name} is not valid JSON: {error}. Retrain this sensor.") from error
    if not isinstance(content, dict):
        raise UntrustedModel(
            f"{path.name} contains a {type(content).__name__}, not an object. Retrain this sensor."
        )
    return content


def check_layout(stored: object, supported: int, *, name: str) -> None:
    """Check the layout version of a file.

    Raises:
        UntrustedModel: this version of the program does not read that layout.
    """
    if stored != supported:
        raise UntrustedModel(
            f"{name} has layout {stored!r}; this program reads layout {supported}. It was written by another "
            "version of SafePlan: retrain this sensor, or serve it with that version."
        )


def digest_folder(folder: Path) -> str:
    """SHA-256 over the relative name and the bytes of every file, ordered by name."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def check_digest(folder: Path, expected: str, *, model: str) -> None:
    """Compare the files of a folder with the digest they were registered with.

    Raises:
        UntrustedModel: a file was altered, truncated, added or removed.
    """
    actual = digest_folder(folder)
    if actual != expected:
        raise UntrustedModel(
            f"{model}: its files have SHA-256 {actual[:12]}…, registered is {expected[:12]}…. "
            "They were altered or truncated; roll back to another version or retrain."
        )


def _refuse_foreign_types(path: Path) -> None:
    _refuse_large(path)
    _refuse_bomb(path)
    import skops.io  # noqa: PLC0415 - as above

    try:
        unknown = skops.io.get_untrusted_types(file=path)
    # As above: a crafted file can raise anything.
    except Exception as error:
        raise UntrustedModel(
            f"{path.name} is not a readable skops file: {error}. Retrain this sensor."
        ) from error
    foreign = sorted(set(unknown) - set(TRUSTED_TYPES))
    if foreign:
        raise UntrustedModel(
            f"{path.name} contains types that are not on the allow-list: {', '.join(foreign)}."
        )


def _refuse_large(path: Path) -> None:
    if not path.is_file():
        raise UntrustedModel(f"{path.name} is missing from the model. Retrain this sensor.")
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise UntrustedModel(f"{path.name} is {size / 2**20:.0f} MB; the limit for a model is 64 MB.")


def _refuse_bomb(path: Path) -> None:
    """Refuse a small archive that expands to a large one, from its table of contents alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise UntrustedModel(
            f"{path.name} is not a readable skops file: {error}. Retrain this sensor."
        ) from error
    if size > MAX_FILE_BYTES:
        raise UntrustedModel(f"{path.name} expands to {size / 2**20:.0f} MB; the limit for a model is 64 MB.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
