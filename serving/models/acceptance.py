"""Load registered versions and check them before they serve: tags, signature, files and a smoke prediction.

Hashes are checked by `training.registry.version_files`, allowed types by `training.artifacts.model_files`.
`champions` handles a version that fails.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mlflow.models import Model as Description

import serving
import training
from serving.recent_readings import Tail
from serving.vectorized import packed_files
from serving.vectorized.batch_scoring import score_packed, score_unpacked
from serving.vectorized.packed_detector import DetectorArrays, PackedDetector
from serving.vectorized.runtime import ScoringRuntime
from training.anomaly.detector import AnomalyDetector
from training.anomaly.detector_files import open_detector
from training.anomaly.profile_detector import ProfileDetector
from training.errors import UntrustedModel
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind
from training.registry.model_registry import Version
from training.registry.signatures import SIGNATURES
from training.registry.version_files import description_of, fetch_files

log = logging.getLogger("safeplan.serving")

Model = PackedDetector | ProfileDetector | Forecaster

RECENT_COPY_SECONDS = 3600.0
MAX_SCORE_DIFFERENCE = 1e-6  # between a detector's scores and those of its packed form; 1e-15 occurs


@dataclass(frozen=True)
class ModelLoader:
    """Loads registered versions, and caches checked copies in `folder`, which may be deleted at any time."""

    folder: Path
    runtime: ScoringRuntime  # of the packed detectors

    def open(self, version: Version) -> Model:
        """Load a version after the checks.

        Raises:
            UntrustedModel: a check failed.
            RegistryError: its files could not be fetched.
        """
        note = self._read_note(version.name, version.number)
        is_checked = note.get("version", {}).get("tags", {}).get("model_sha256") == version.sha256
        if is_checked and note.get("program") == program_digest() and note.get("packed"):
            try:
                arrays = packed_files.load_packed(self._packed_path(version), note["packed"])
                return PackedDetector.of(arrays, self.runtime)
            except UntrustedModel as error:
                log.warning("%s is packed again: %s", version.uri, error)
        if not is_checked:
            check_tags(version)
        files = fetch_files(version, self.folder)
        if not is_checked:
            check_signature(version, description_of(files))
        if version.kind is Kind.FORECASTER:
            model: Model = load_forecaster(version, files)
            self._write_note(version)
            return model
        detector = load_detector(version, files)
        if not isinstance(detector, AnomalyDetector):
            # Fixed rules are one small file and score in a millisecond: there is nothing to pack.
            self._write_note(version)
            return detector
        packed = pack_verified(version, detector, self.runtime)
        if packed is None:
            return detector
        arrays, model = packed
        self._write_note(version, packed=packed_files.save_packed(arrays, self._packed_path(version)))
        return model

    def load_metadata(self, name: str, number: int) -> Version | None:
        """A version's metadata when it was last loaded, for when the registry is unreachable."""
        try:
            content = self._read_note(name, number)["version"]
            kind, created = Kind(content["kind"]), datetime.fromisoformat(content["created"])
            return Version(**content | {"kind": kind, "created": created})
        except (ValueError, KeyError, TypeError):
            return None

    def prune(self, name: str, numbers: Collection[int], *, now: float) -> None:
        """Remove the copies of all other versions of a model, which would accumulate with each promotion.

        Copies of the last hour stay: another worker may be loading one of them.
        """
        folder = self.folder / name
        for path in folder.iterdir() if folder.is_dir() else ():
            number = re.match(r"\d+", path.name)
            if number is None or int(number.group()) in numbers:
                continue
            with suppress(FileNotFoundError):  # another worker removed it first
                if path.stat().st_mtime > now - RECENT_COPY_SECONDS:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

    def _packed_path(self, version: Version) -> Path:
        return self.folder / version.name / f"{version.number}.npz"

    def _note_path(self, name: str, number: int) -> Path:
        return self.folder / name / f"{number}.json"

    def _read_note(self, name: str, number: int) -> dict[str, Any]:
        try:
            content = json.loads(self._note_path(name, number).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write_note(self, version: Version, packed: str = "") -> None:
        note = self._note_path(version.name, version.number)
        content = {"version": asdict(version), "program": program_digest(), "packed": packed}
        part = note.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(content, default=str), encoding="utf-8")
        part.replace(note)


def check_tags(version: Version) -> None:
    """Refuse a version without the tags that `safeplan train` writes."""
    for tag in ("sensor_id", "kind", "model_sha256", "train_end"):
        if not version.tags.get(tag):
            raise UntrustedModel(
                f"{version.uri} has no tag {tag}; it was not registered by safeplan train. Roll back."
            )


def check_signature(version: Version, description: Path) -> None:
    """Refuse a version whose `MLmodel` file declares other columns than those of its kind."""
    if not description.is_file():
        raise UntrustedModel(f"{version.uri} has no MLmodel file that declares its columns. Roll back.")
    with _wrap_load_errors(version):
        signature = Description.from_dict(yaml.safe_load(description.read_text(encoding="utf-8"))).signature
    expected = SIGNATURES[version.kind]
    if signature is None or signature.inputs != expected.inputs or signature.outputs != expected.outputs:
        raise UntrustedModel(f"{version.uri} does not have the columns of a {version.kind}. Roll back.")


def load_detector(version: Version, files: Path) -> ProfileDetector:
    """Load a detector; it must score an absurd reading at least as high as an ordinary one."""
    with _wrap_load_errors(version):
        detector = open_detector(files)
        profile = detector.profile
        absurdity = profile.centre + 1e6 * profile.spread
        ordinary, absurd = (float(detector.score([value])[0]) for value in (profile.centre, absurdity))
    if not 0 <= ordinary <= absurd <= 1:
        raise UntrustedModel(
            f"{version.uri} scores an ordinary reading {ordinary:g} and an absurd one {absurd:g}. Roll back."
        )
    return detector


def load_forecaster(version: Version, files: Path) -> Forecaster:
    """Load a forecaster; its next two steps must be finite and inside their interval."""
    with _wrap_load_errors(version):
        forecaster = Forecaster.load(files)
        ahead = forecaster.forecast(2)
    numbers = ahead[["lower_bound", "forecasted_values", "upper_bound"]].to_numpy()
    if not np.isfinite(numbers).all() or (np.diff(numbers, axis=1) < 0).any():
        raise UntrustedModel(f"{version.uri} forecasts values outside their interval. Roll back.")
    return forecaster


@contextmanager
def _wrap_load_errors(version: Version) -> Iterator[None]:
    try:
        yield
    except UntrustedModel as error:
        raise UntrustedModel(f"{version.uri}: {error}") from error
    # The files match their hash, but anybody with access may have registered them.
    except Exception as error:
        raise UntrustedModel(f"{version.uri} cannot be used: {type(error).__name__}: {error}") from error


def pack_verified(
    version: Version, detector: AnomalyDetector, runtime: ScoringRuntime
) -> tuple[DetectorArrays, PackedDetector] | None:
    """The packed detector if its scores equal the detector's; None, with a warning, where they do not.

    Features, trees and calibration are the same code; neighbours are searched by another algorithm.
    """
    try:
        arrays = DetectorArrays.of(detector)
        packed = PackedDetector.of(arrays, runtime)
        difference = max_score_difference(detector, packed)
    except (UntrustedModel, ValueError, IndexError) as error:
        log.warning("%s serves unpacked, which is slower: %s", version.uri, error)
        return None
    if difference > MAX_SCORE_DIFFERENCE:
        log.warning(
            "%s serves unpacked, which is slower: its packed scores differ by %g", version.uri, difference
        )
        return None
    return arrays, packed


def max_score_difference(detector: AnomalyDetector, packed: PackedDetector) -> float:
    """The largest difference between a detector's scores and its packed form's, on generated readings."""
    profile = detector.profile
    steps = np.arange(2.0 * profile.window + 4)
    seconds = profile.last + profile.step * (steps + 1)
    values = profile.centre + profile.spread * np.sin(steps)
    values[-3:] += profile.spread * np.array([0.0, 30.0, 3.0])
    readings = Tail(seconds, values)
    scored, history = readings.part(len(steps) - 4, len(steps)), readings.before(float(seconds[-4]))
    return float(
        np.abs(score_unpacked(detector, scored, history).scores - score_packed(packed, scored, history)).max()
    )


@cache
def program_digest() -> str:
    """A hash of the code that packs and scores, and of the versions of the libraries it uses."""
    total = hashlib.sha256("".join(f"{name}{installed(name)}" for name in ("numpy", "scipy")).encode())
    for package in (Path(training.__file__).parent, Path(serving.__file__).parent):
        for path in sorted(package.rglob("*.py")):
            total.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]
