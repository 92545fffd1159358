"""Readings of a real pump rig and a real well in place of the simulated plant, one per minute.

The rig sends every second and has no more than hours of it; its seconds are taken as minutes. The well has
gaps; its readings are taken as consecutive. Pressures in pascal become bar.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.operator_plant import MINUTES_PER_DAY, Signal

RIG, WELL = "skab_anomaly_free.csv.gz", "3w_flow_well02.csv.gz"
PASCAL_PER_BAR = 1e5
SMOOTHING = 15  # readings, for the level under the noise
# Sensor: file, series, divisor.
SOURCES = {
    "FT-201": (RIG, "free.Flow", 1.0),
    "PT-201": (RIG, "free.Press", 1.0),
    "IT-201": (RIG, "free.Current", 1.0),
    "TT-201": (RIG, "free.TempFluid", 1.0),
    "TT-202": (RIG, "free.TempEng", 1.0),
    "VT-201": (RIG, "free.Acc1", 1.0),
    "PT-101": (WELL, "W02.P-JUS-CKGL", PASCAL_PER_BAR),
    "PT-102": (WELL, "W02.P-TPT", PASCAL_PER_BAR),
    "PT-103": (WELL, "W02.P-MON-CKP", PASCAL_PER_BAR),
    "TT-101": (WELL, "W02.T-TPT", 1.0),
}
MINUTES = 6 * MINUTES_PER_DAY  # five days to learn from, and the day


def real_plant(data: Path) -> Mapping[str, Signal]:
    """The newest readings of each source, of equal length."""
    tables = {file: pd.read_csv(data / file) for file in (RIG, WELL)}
    signals = {}
    for sensor_id, (file, series, divisor) in SOURCES.items():
        table = tables[file]
        values = table.loc[table["series_id"] == series, "value"].dropna().to_numpy(np.float64) / divisor
        recent = pd.Series(values[-MINUTES:])
        level = recent.rolling(SMOOTHING, center=True, min_periods=1).median().to_numpy()
        signals[sensor_id] = Signal(level, recent.to_numpy() - level)
    return signals
