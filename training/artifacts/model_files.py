"""The files of one fitted model: native formats only, each held to its SHA-256.

Knows the allow-list of types that may come out of a file, and how a folder is digested. Holds both itself:
a list that travels inside the model it is meant to judge is no safeguard. Leaves what the objects mean to
`detector` and `forecaster`.
"""

import hashlib
import json
import math
import threading
import zipfile
from pathlib import Path
from typing import Any

from training.errors import UntrustedModel

# What scikit-learn's Isolation Forest and LOF are made of, beyond the types skops trusts by itself.
TRUSTED_TYPES = (
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)

DATA = "data"  # MLflow's name for the folder that holds a model's own files
MODEL_FOLDER = "model"  # below `data/` in a version's artifacts; what model_sha256 is taken over

# NumPy reads an array's header with Python's parser, which in several threads at once may fail
# (3.11: "AST constructor recursion depth mismatch"): a sound file would be refused.
array_read_lock = threading.Lock()

_checked_type_sets: set[frozenset[str]] = set()  # the types of what was written and looked through before

MAX_FILE_BYTES = 64 * 2**20  # bytes, packed or not; the biggest honest model measured is under 4 MB


def write_skops(fitted: object, path: Path) -> None:
    """Write one fitted scikit-learn object; refuses what `read_skops` would refuse."""
    from training.artifacts.skops_packing import dump_skops  # noqa: PLC0415 - skops imports all of scikit-learn, in 2 s

    packed, types = dump_skops(fitted)
    path.write_bytes(packed)
    # Looking through a forest's file takes 27 ms; objects of the same types are made of the same.
    if types not in _checked_type_sets:
        _refuse_foreign_types(path)
        _checked_type_sets.add(types)


def read_skops(path: Path) -> Any:
    """Read one fitted scikit-learn object.

    Raises:
        UntrustedModel: the file is cut short, no skops file, too large, or holds a type off the allow-list.
    """
    _refuse_large(path)
    _refuse_bomb(path)
    import skops.io  # noqa: PLC0415 - as above

    try:
        # Looks all types through itself before it makes anything; to do so twice would take as long again.
        with array_read_lock:
            return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    # A crafted file can make any constructor inside skops, numpy or scikit-learn raise.
    except Exception as error:
        _refuse_foreign_types(path)
        raise UntrustedModel(
            f"{path.name} cannot be read as a model: {error}. Retrain this sensor."
        ) from error


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write plain JSON, keys sorted; refuses NaN and infinity, which are not JSON."""
    path.write_text(json.dumps(content, allow_nan=False, sort_keys=True), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a plain JSON object whose numbers are all finite.

    Raises:
        UntrustedModel: the file is missing, too large, no JSON object, or holds NaN or infinity.
    """
    _refuse_large(path)
    try:
        content = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise UntrustedModel(f"{path.name} is no plain JSON: {error}. Retrain this sensor.") from error
    if not isinstance(content, dict):
        raise UntrustedModel(
            f"{path.name} holds a {type(content).__name__}, not an object. Retrain this sensor."
        )
    return content


def check_layout(stored: object, supported: int, *, name: str) -> None:
    """Refuse a file that another version of this program laid out.

    Raises:
        UntrustedModel: its layout is not the one this program reads.
    """
    if stored != supported:
        raise UntrustedModel(
            f"{name} has layout {stored!r}; this program reads layout {supported}. It was written by another "
            "version of safeplan: retrain this sensor, or serve it with that version."
        )


def digest_folder(folder: Path) -> str:
    """SHA-256 over every file's relative name and bytes, in the order of the names."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def check_digest(folder: Path, expected: str, *, model: str) -> None:
    """Refuse a folder whose bytes are not those that were registered.

    Raises:
        UntrustedModel: a file was altered, cut short, added or lost since.
    """
    actual = digest_folder(folder)
    if actual != expected:
        raise UntrustedModel(
            f"{model}: its files have SHA-256 {actual[:12]}…, registered was {expected[:12]}…. "
            "They were altered or cut short; roll back to another version or retrain."
        )


def _refuse_foreign_types(path: Path) -> None:
    _refuse_large(path)
    _refuse_bomb(path)
    import skops.io  # noqa: PLC0415 - as above

    try:
        unknown = skops.io.get_untrusted_types(file=path)
    # As above: the bytes are not ours yet.
    except Exception as error:
        raise UntrustedModel(
            f"{path.name} is no readable skops file: {error}. Retrain this sensor."
        ) from error
    foreign = sorted(set(unknown) - set(TRUSTED_TYPES))
    if foreign:
        raise UntrustedModel(
            f"{path.name} holds types that no model of ours is made of: {', '.join(foreign)}."
        )


def _refuse_large(path: Path) -> None:
    if not path.is_file():
        raise UntrustedModel(f"{path.name} is missing from the model. Retrain this sensor.")
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise UntrustedModel(f"{path.name} is {size / 2**20:.0f} MB; no honest model exceeds 64 MB.")


def _refuse_bomb(path: Path) -> None:
    """Refuse a small archive that unpacks into a large one; nothing is unpacked to find out."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise UntrustedModel(
            f"{path.name} is no readable skops file: {error}. Retrain this sensor."
        ) from error
    if size > MAX_FILE_BYTES:
        raise UntrustedModel(f"{path.name} unpacks to {size / 2**20:.0f} MB; no honest model exceeds 64 MB.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
