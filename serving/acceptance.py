"""What a version must show before it may serve: its own files, its own kind, and an answer that makes sense.

Knows the checks, from a version's tags to a smoke prediction. Leaves hashes and allow-lists to `registry` and
`model_files`, which hold them, and what happens to a version that fails to `champions`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import mlflow
import numpy as np

from training.detector import AnomalyDetector
from training.errors import DataError, UntrustedModel
from training.forecaster import Forecaster
from training.kinds import Kind
from training.registry import Registry, Version, registry_errors
from training.standalone import SIGNATURES

Model = AnomalyDetector | Forecaster


@dataclass(frozen=True)
class Library:
    """Registered versions as models, and their checked copies on disk, which outlive a restart.

    `folder` may be deleted at any time.
    """

    registry: Registry
    folder: Path

    def open(self, version: Version) -> Model:
        """Load a version that has shown what it must.

        Raises:
            UntrustedModel: it failed, with the reason.
            RegistryError: its files could not be fetched.
        """
        note = self._note(version.name, version.number)
        if not note.exists():
            check_described(version)
            check_signature(version)
        files = self.registry.fetch(version, self.folder)
        model = CHECKS[version.kind](version, files)
        if not note.exists():
            part = note.with_suffix(".part")
            part.write_text(json.dumps(asdict(version), default=str), encoding="utf-8")
            part.replace(note)
        return model

    def remembered(self, name: str, number: int) -> Version | None:
        """A version as it was when it was last opened, for when the registry cannot be asked."""
        try:
            content = json.loads(self._note(name, number).read_text(encoding="utf-8"))
            kind, created = Kind(content["kind"]), datetime.fromisoformat(content["created"])
            return Version(**content | {"kind": kind, "created": created})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, name: str, number: int) -> Path:
        return self.folder / name / f"{number}.json"


def check_described(version: Version) -> None:
    """Refuse a version whose tags do not say what `safeplan train` writes."""
    for tag in ("sensor_id", "kind", "model_sha256", "train_end"):
        if not version.tags.get(tag):
            raise UntrustedModel(
                f"{version.uri} has no tag {tag}; it was not registered by safeplan train. Roll back."
            )


def check_signature(version: Version) -> None:
    """Refuse a version that takes or gives other columns than its kind."""
    with registry_errors(f"cannot read the description of {version.uri}"):
        found = mlflow.models.get_model_info(version.uri).signature
    expected = SIGNATURES[version.kind]
    if found is None or found.inputs != expected.inputs or found.outputs != expected.outputs:
        raise UntrustedModel(f"{version.uri} does not have the columns of a {version.kind}. Roll back.")


def open_detector(version: Version, files: Path) -> AnomalyDetector:
    """Load a detector; an absurd reading must be odder to it than an ordinary one."""
    with _foreign_errors(version):
        detector = AnomalyDetector.load(files)
    profile = detector.profile
    ordinary, absurd = (
        float(detector.score([value])[0]) for value in (profile.centre, profile.centre + 1e6 * profile.spread)
    )
    if not 0 <= ordinary <= absurd <= 1:
        raise UntrustedModel(
            f"{version.uri} scores an ordinary reading {ordinary:g} and an absurd one {absurd:g}. Roll back."
        )
    return detector


def open_forecaster(version: Version, files: Path) -> Forecaster:
    """Load a forecaster; two steps ahead must be numbers inside their own band."""
    with _foreign_errors(version):
        forecaster = Forecaster.load(files)
    try:
        ahead = forecaster.forecast(2)
    except DataError as error:
        raise UntrustedModel(f"{version.uri} cannot forecast two steps: {error} Roll back.") from error
    numbers = ahead[["lower_bound", "forecasted_values", "upper_bound"]].to_numpy()
    if not np.isfinite(numbers).all() or (np.diff(numbers, axis=1) < 0).any():
        raise UntrustedModel(f"{version.uri} forecasts no numbers inside a band. Roll back.")
    return forecaster


@contextmanager
def _foreign_errors(version: Version) -> Iterator[None]:
    try:
        yield
    except UntrustedModel as error:
        raise UntrustedModel(f"{version.uri}: {error}") from error
    # The files are those registered, but nobody has said that who registered them was careful.
    except Exception as error:
        raise UntrustedModel(f"{version.uri} cannot be loaded: {type(error).__name__}: {error}") from error


CHECKS: dict[Kind, Callable[[Version, Path], Model]] = {
    Kind.DETECTOR: open_detector,
    Kind.FORECASTER: open_forecaster,
}
