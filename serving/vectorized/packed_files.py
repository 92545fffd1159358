"""Store packed detectors on disk: they load in 3 ms instead of 150 ms, which makes restarts fast.

Each file is an archive of plain arrays with a hash, written from registered files whose hash was checked.
`serving.models.acceptance` writes it again if its hash or the program has changed. Never unpickles.
"""

import hashlib
import io
from dataclasses import fields
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from serving.vectorized.packed_detector import DetectorArrays
from training.anomaly.ensemble import CalibrationTables
from training.anomaly.features import POINTS
from training.anomaly.models.base_detectors import BASE_DETECTORS, family_of
from training.anomaly.models.isolation_forest import NODE_DTYPE, Forest, check_nodes
from training.anomaly.models.local_outlier_factor import Neighbourhood
from training.anomaly.profile import Profile
from training.artifacts.model_files import array_read_lock
from training.errors import UntrustedModel

TABLE_NAMES = tuple(field.name for field in fields(CalibrationTables))


def save_packed(packing: DetectorArrays, path: Path) -> str:
    """Write a packed detector and return the SHA-256 of the file."""
    arrays: dict[str, np.ndarray] = {
        "profile": np.frombuffer(packing.profile.model_dump_json().encode(), np.uint8),
        "scalars": np.array([packing.threshold]),
        **{f"tables.{name}": getattr(packing.tables, name) for name in TABLE_NAMES},
    }
    for voice, forest in packing.forests.items():
        arrays[f"{voice}.nodes"] = forest.nodes.view(np.uint64)
        arrays[f"{voice}.roots"] = forest.roots
        arrays[f"{voice}.scalars"] = np.array([forest.normal_length, forest.depth])
    for voice, lof in packing.densities.items():
        arrays[f"{voice}.rows"] = lof.rows
        arrays[f"{voice}.reach"], arrays[f"{voice}.density"] = lof.reach, lof.density
        arrays[f"{voice}.scalars"] = np.array([lof.k])
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)
    return hashlib.sha256(content).hexdigest()


def load_packed(path: Path, sha256: str) -> DetectorArrays:
    """Read what `save_packed` wrote.

    Raises:
        UntrustedModel: the file is missing, altered or not a packed detector.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UntrustedModel(f"{path} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UntrustedModel(f"{path} was altered or truncated.")
    try:
        with array_read_lock, np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _parse_arrays(arrays)
    except (ValueError, KeyError, IndexError, OSError, ValidationError) as error:
        raise UntrustedModel(f"{path} is not a packed detector: {error}") from error


def _parse_arrays(arrays: dict[str, np.ndarray]) -> DetectorArrays:
    profile = Profile.model_validate_json(arrays["profile"].tobytes())
    [threshold] = arrays["scalars"].tolist()
    forests, densities = {}, {}
    for voice in BASE_DETECTORS[:-1]:
        if f"{voice}.scalars" not in arrays:
            continue
        scalars = arrays[f"{voice}.scalars"].tolist()
        if family_of(voice) == "forest":
            nodes, roots = arrays[f"{voice}.nodes"].view(NODE_DTYPE), arrays[f"{voice}.roots"]
            columns = len(POINTS) if voice.endswith("points") else profile.window.bit_length()
            check_nodes(nodes, roots, columns=columns, depth=int(scalars[1]))
            forests[voice] = Forest(nodes, roots, scalars[0], int(scalars[1]))
        else:
            rows, reach, density = (arrays[f"{voice}.{name}"] for name in ("rows", "reach", "density"))
            densities[voice] = Neighbourhood(rows, reach, density, int(scalars[0]))
    tables = CalibrationTables(*(arrays[f"tables.{name}"] for name in TABLE_NAMES))
    return DetectorArrays(profile, threshold, tables, forests, densities)
