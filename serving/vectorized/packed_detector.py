"""A fitted detector in the form that is served: small, and scored together with others.

Trees and neighbours take the forms of `packed_forest` and `packed_lof`; all other numbers lie in the table of
a `runtime`. Scores are computed in `batch_scoring`, files are written by `packed_files`.
`serving.models.acceptance` checks that a packed detector scores as the fitted one does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from serving.vectorized.packed_forest import Slot, slot_parameters
from serving.vectorized.packed_lof import PackedLof
from serving.vectorized.parameter_table import ParameterTable, RowHandle
from serving.vectorized.runtime import ScoringRuntime
from training.anomaly.detector import AnomalyDetector
from training.anomaly.ensemble import CalibrationTables
from training.anomaly.features import SensorParameters
from training.anomaly.models.base_detectors import BASE_DETECTORS, family_of
from training.anomaly.models.isolation_forest import Forest
from training.anomaly.models.local_outlier_factor import Neighbourhood
from training.anomaly.profile import Profile
from training.common.arrays import Ints


@dataclass(frozen=True)
class DetectorArrays:
    """All numbers of one detector, as kept in memory or in a file."""

    profile: Profile
    threshold: float
    tables: CalibrationTables  # of one sensor
    forests: dict[str, Forest]
    densities: dict[str, Neighbourhood]

    @classmethod
    def of(cls, detector: AnomalyDetector) -> "DetectorArrays":
        """The numbers of a fitted detector."""
        fitted = detector.base_detectors
        return cls(
            detector.profile,
            detector.threshold,
            CalibrationTables.of(detector.ensemble),
            fitted.fast_forests,
            fitted.fast_densities,
        )


@dataclass(frozen=True, eq=False)
class PackedDetector:
    """One sensor's detector in a runtime."""

    profile: Profile
    threshold: float
    forests: dict[str, Slot]
    lofs: dict[str, PackedLof]
    runtime: ScoringRuntime
    row_handle: RowHandle

    @classmethod
    def of(cls, arrays: DetectorArrays, runtime: ScoringRuntime) -> "PackedDetector":
        """Copy a detector's numbers into a runtime.

        Raises:
            ValueError: a density has more neighbours than can be packed.
        """
        slots = {name: runtime.forests.add(forest) for name, forest in arrays.forests.items()}
        lofs = {name: PackedLof.of(density) for name, density in arrays.densities.items()}
        tables = {name: entry[0] for name, entry in vars(arrays.tables).items()}
        row_handle = runtime.parameters.put(
            arrays.profile.parameters() | tables | _base_detector_parameters(slots, lofs)
        )
        return cls(arrays.profile, arrays.threshold, slots, lofs, runtime, row_handle)

    @property
    def window(self) -> int:
        """Readings in one window; detectors with equal windows are scored together."""
        return self.profile.window

    @property
    def context(self) -> int:
        """The number of earlier readings that a score can depend on."""
        return self.profile.context


def _base_detector_parameters(
    slots: Mapping[str, Slot], lofs: Mapping[str, PackedLof]
) -> dict[str, ArrayLike]:
    """For every base detector but the deviation: whether it is active, and the slot of its forest."""
    numbers: dict[str, ArrayLike] = {}
    for name in BASE_DETECTORS[:-1]:
        numbers[f"{name}.active"] = name in slots or name in lofs
        if family_of(name) == "forest":
            numbers |= {f"{name}.{key}": entry for key, entry in slot_parameters(slots.get(name)).items()}
    return numbers


def table_rows(detectors: Sequence[PackedDetector]) -> Ints:
    """The rows of the parameter table that hold these detectors' numbers."""
    return np.fromiter((one.row_handle.row for one in detectors), np.int64, len(detectors))


def sensor_parameters(table: ParameterTable, rows: Ints, window: int) -> SensorParameters:
    """What is normal for the sensors of these rows, whose windows have this length."""
    names = [field.name for field in fields(SensorParameters) if field.name != "window"]
    return SensorParameters(window, *(table.column(name)[rows] for name in names))


def calibration_tables(table: ParameterTable) -> CalibrationTables:
    """The calibration of all rows of the table, to be used at rows whose handles are held."""
    return CalibrationTables(*(table.column(field.name) for field in fields(CalibrationTables)))
